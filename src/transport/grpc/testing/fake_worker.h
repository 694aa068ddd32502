// A worker over gRPC, played within the test: of version 1 or 2, well or badly behaved.
#ifndef SNAKEPIT_TRANSPORT_GRPC_TESTING_FAKE_WORKER_H_
#define SNAKEPIT_TRANSPORT_GRPC_TESTING_FAKE_WORKER_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proto/snakepit.grpc.pb.h"
#include "snakepit/value.h"

namespace snakepit::testing {

// Commands: `echo` gives its args; `trailers` as well, with metadata of `bytes` bytes; `hold` goes
// on until it is cancelled, `ignore` until Release, cancelled or not; `fail` fails as its args
// `error`, `code` and `did_not_run` say; `status` ends with the gRPC status `status` and the text
// `text`, or one of `bytes` bytes, and `late_status` likewise, after Release; `reply` answers with
// the bytes `typed_result`; `large` gives `bytes` bytes; `meet` returns when `callers` of them are
// there. As streams: `count` gives `n` chunks, and with `separate_end` marks the end apart; `fill`
// gives chunks of 64 KiB for ever; `nothing` ends with neither chunk nor final message; `empty_end`
// gives an empty map; `no_chunk` a message without a chunk; `large` one chunk, and goes on until it
// is cancelled; `hold`, `ignore`, `fail`, `status` and `late_status` do what they do after one
// chunk.
class FakeWorker final : public SnakepitBridge::Service {
 public:
  // All that it has seen since the start.
  struct Seen {
    // Number of RPCs by the name of the method: "Execute", "Health".
    int Count(std::string_view method) const { return static_cast<int>(methods.count(method)); }

    std::multiset<std::string, std::less<>> methods;
    std::set<std::string> connections;  // from which an RPC has come
    InfoRequest info_request;
    ExecuteRequest last_request;  // a call, with its typed_args and args
    std::vector<std::string> sessions, ended_sessions;
    std::multiset<std::string> request_ids;  // all calls'
    std::multiset<std::string> running;      // the ids of those whose handlers run
    int begun = 0;                           // handlers
    int64_t chunks_written = 0;              // that `fill` has given to the transport
  };

  // All to be set before the worker serves.
  InfoResponse info;         // the answer of GetInfo
  grpc::Status info_status;  // and whether it does
  int info_refusals = 0;     // times that it is too busy to answer
  bool healthy = true;
  std::string token;  // if not empty: refuse what comes with another
  int max_receive_bytes = 64 << 20;
  std::chrono::milliseconds max_connection_age{0};  // 0: no limit
  std::function<void()> on_health;                  // runs before each answer of Health

  ~FakeWorker() override { Stop(); }

  // Begins to serve, and returns where.
  std::string Serve();
  // Ends every call and stops to serve.
  void Stop();
  // Lets the calls of `ignore` end.
  void Release();
  // The end of Health from now on.
  void SetHealthStatus(const grpc::Status& status);
  // Refuses so many calls from now on, as one that has too many.
  void Refuse(int calls);
  // While it is held, Health (or GetInfo) does not answer, with what it has to say ready.
  void Hold(std::string_view method, bool held);

  Seen seen() const;
  // Waits until the condition holds of what it has seen. False after the limit.
  bool WaitUntil(const std::function<bool(const Seen&)>& condition);
  bool WaitForCount(std::string_view method, int count);
  bool WaitForBegun(int count);
  bool WaitForRunning(size_t count);
  // Returns the number of chunks that `fill` has written when there were no more for `quiet`.
  int64_t WaitUntilWritingStalls(std::chrono::milliseconds quiet);

 private:
  class Running;

  grpc::Status Execute(grpc::ServerContext* context, const ExecuteRequest* request,
                       ExecuteResponse* response) override;
  grpc::Status ExecuteStream(grpc::ServerContext* context, const ExecuteRequest* request,
                             grpc::ServerWriter<StreamResponse>* writer) override;
  grpc::Status ExecuteInSession(grpc::ServerContext* context, const SessionRequest* request,
                                ExecuteResponse* response) override;
  grpc::Status ExecuteInSessionStream(grpc::ServerContext* context, const SessionRequest* request,
                                      grpc::ServerWriter<StreamResponse>* writer) override;
  grpc::Status Health(grpc::ServerContext* context, const HealthRequest* request,
                      HealthResponse* response) override;
  grpc::Status GetInfo(grpc::ServerContext* context, const InfoRequest* request,
                       InfoResponse* response) override;

  grpc::Status Enter(const grpc::ServerContext& context, std::string_view method);
  void WaitWhileHeld(std::string_view method, const grpc::ServerContext& context);
  grpc::Status Run(grpc::ServerContext* context, const ExecuteRequest& request,
                   ExecuteResponse* response);
  grpc::Status RunStream(grpc::ServerContext* context, const ExecuteRequest& request,
                         grpc::ServerWriter<StreamResponse>* writer);
  // Waits as `hold` and `ignore` do.
  void WaitFor(const grpc::ServerContext& context, bool until_cancelled);

  std::unique_ptr<grpc::Server> server_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Seen seen_;
  std::set<std::string, std::less<>> held_;
  grpc::Status health_status_;
  int refusals_ = 0;
  int meeting_ = 0;
  bool released_ = false;
  bool stopping_ = false;
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_TRANSPORT_GRPC_TESTING_FAKE_WORKER_H_
