// A worker over gRPC, played within the test, whose answers are given as they are on the wire: so
// they need be no messages, none, or too many.
#ifndef SNAKEPIT_TRANSPORT_GRPC_TESTING_RAW_WORKER_H_
#define SNAKEPIT_TRANSPORT_GRPC_TESTING_RAW_WORKER_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace snakepit::testing {

class RawWorker final : public grpc::CallbackGenericService {
 public:
  struct Answer {
    std::vector<std::string> messages;
    grpc::Status end;
    bool goes_on = false;  // it ends when it is cancelled, and not before
  };

  ~RawWorker() override {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
  }

  // To every RPC of that method ("Execute"); not to be changed while the worker serves one.
  Answer& operator[](const std::string& method) { return answers_[method]; }

  // Begins to serve, and returns where.
  std::string Serve() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterCallbackGenericService(this);
    server_ = builder.BuildAndStart();
    return "127.0.0.1:" + std::to_string(port);
  }

 private:
  class Rpc final : public grpc::ServerGenericBidiReactor {
   public:
    explicit Rpc(Answer answer) : answer_(std::move(answer)) { StartRead(&buffer_); }

    void OnReadDone(bool) override { Go(); }
    void OnWriteDone(bool ok) override {
      if (ok) return Go();
      if (!answer_.goes_on) Finish(grpc::Status::CANCELLED);
    }
    void OnCancel() override {
      if (answer_.goes_on) Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

   private:
    void Go() {
      if (next_ < answer_.messages.size()) {
        const grpc::Slice slice(answer_.messages[next_++]);
        buffer_ = grpc::ByteBuffer(&slice, 1);
        StartWrite(&buffer_);
      } else if (!answer_.goes_on) {
        Finish(answer_.end);
      }
    }

    const Answer answer_;
    size_t next_ = 0;
    grpc::ByteBuffer buffer_;
  };

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    const auto found = answers_.find(context->method().substr(context->method().rfind('/') + 1));
    return new Rpc(found != answers_.end() ? found->second
                                           : Answer{.end = {grpc::StatusCode::UNIMPLEMENTED, ""}});
  }

  std::map<std::string, Answer> answers_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_TRANSPORT_GRPC_TESTING_RAW_WORKER_H_
