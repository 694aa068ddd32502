// A gRPC server within the test's process, on a Unix socket, and its client.
#ifndef SNAKEPIT_WORKER_GRPC_TESTING_FIXTURE_H_
#define SNAKEPIT_WORKER_GRPC_TESTING_FIXTURE_H_

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "proto/snakepit.grpc.pb.h"
#include "snakepit/value.h"
#include "snakepit/worker.h"
#include "src/base/testing/await.h"
#include "src/base/testing/temp_folder.h"
#include "src/wire/msgpack.h"
#include "src/worker/command_service.h"
#include "src/worker/grpc/server.h"

namespace snakepit::testing {

// Tests wait for milliseconds; after this time they fail.
inline constexpr std::chrono::seconds kLimit{20};
inline constexpr char kToken[] = "0123456789abcdef0123456789abcdef";

inline std::string Typed(const Value& value) {
  std::string bytes;
  EXPECT_TRUE(EncodeMsgpack(value, &bytes));
  return bytes;
}

inline Value Untyped(const std::string& bytes) {
  auto value = DecodeMsgpack(bytes);
  EXPECT_TRUE(value) << value.error().ToString();
  return value ? *value : Value();
}

class GrpcServerTest : public ::testing::Test {
 protected:
  ~GrpcServerTest() override {
    if (server_) {
      gate_.release(1000);
      End();
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder_)) << "a file is left";
  }

  void Create(int capacity = 1) {
    commands_ = std::make_unique<CommandService>("test", WorkerOptions{.capacity = capacity});
    commands_->registry.Add("echo", [](const Call& call) { return call.args(); });
    // Waits for a release of gate_, and ignores everything else.
    commands_->registry.Add("gate", [this](const Call& call) {
      ++begun_;
      gate_.acquire();
      return call.args();
    });
    commands_->registry.Add("wait", [this](const Call& call) {
      ++begun_;
      call.Wait(10 * kLimit);
      return call.cancelled();
    });
    commands_->registry.AddStream(
        "chunks", [this](const Call& call, ChunkSink& out) -> Result<void> {
          const int64_t size = call.Integer("size", 0);
          for (int64_t i = 0; i < call.Integer("n"); ++i) {
            ++produced_;
            if (!out.Send(size == 0 ? Value(Value::Map{{"i", i}})
                                    : Value(Bytes{std::string(static_cast<size_t>(size), 'x')}))) {
              ++given_up_;
              break;
            }
          }
          return {};
        });
  }

  void Serve(size_t max_message_bytes = 64u << 20) {
    server_ = std::make_unique<GrpcServer>(*commands_, max_message_bytes);
    // The name has a blank, because gRPC reads addresses as URIs.
    const auto started = server_->Start({.socket_path = folder_ + "/a socket"});
    ASSERT_TRUE(started) << started.error().ToString();
    EXPECT_EQ(*started, folder_ + "/a socket");
    channel_ = NewChannel();
    stub_ = SnakepitBridge::NewStub(channel_);
    thread_ = std::thread([this] {
      PoolWatch nobody;
      server_->Run(nobody);
    });
  }

  std::shared_ptr<grpc::Channel> NewChannel() {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    return grpc::CreateCustomChannel("unix:" + folder_ + "/a%20socket",
                                     grpc::InsecureChannelCredentials(), arguments);
  }

  // True if nothing runs any more.
  bool End() {
    server_->Terminate();
    thread_.join();
    const bool idle = server_->idle();
    EXPECT_TRUE(idle);
    server_.reset();
    return idle;
  }

  static void SetUp(grpc::ClientContext* context) {
    context->set_deadline(std::chrono::system_clock::now() + kLimit);
    context->AddMetadata("snakepit-token", kToken);
  }

  ExecuteResponse Execute(const ExecuteRequest& request) {
    grpc::ClientContext context;
    SetUp(&context);
    ExecuteResponse response;
    const grpc::Status status = stub_->Execute(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  ExecuteResponse Execute(const std::string& command, const Value& args = Value::Map{}) {
    ExecuteRequest request;
    request.set_command(command);
    request.set_request_id("7");
    request.set_typed_args(Typed(args));
    return Execute(request);
  }

  ExecuteResponse ExecuteInSession(const SessionRequest& request) {
    grpc::ClientContext context;
    SetUp(&context);
    ExecuteResponse response;
    const grpc::Status status = stub_->ExecuteInSession(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  std::vector<StreamResponse> Stream(const ExecuteRequest& request) {
    grpc::ClientContext context;
    SetUp(&context);
    auto reader = stub_->ExecuteStream(&context, request);
    std::vector<StreamResponse> messages;
    for (StreamResponse message; reader->Read(&message);) messages.push_back(message);
    EXPECT_TRUE(reader->Finish().ok());
    return messages;
  }
  std::vector<StreamResponse> Stream(const std::string& command, const Value& args) {
    ExecuteRequest request;
    request.set_command(command);
    request.set_typed_args(Typed(args));
    return Stream(request);
  }

  HealthResponse Health() {
    grpc::ClientContext context;
    SetUp(&context);
    HealthResponse response;
    EXPECT_TRUE(stub_->Health(&context, {}, &response).ok());
    return response;
  }

  InfoResponse GetInfo(const InfoRequest& request) {
    grpc::ClientContext context;
    SetUp(&context);
    InfoResponse response;
    EXPECT_TRUE(stub_->GetInfo(&context, request, &response).ok());
    return response;
  }

  static void AwaitAtLeast(const std::atomic<int>& counter, int count) {
    ASSERT_TRUE(Await([&] { return counter >= count; }, kLimit)) << counter << " of " << count;
  }

  std::atomic<int> begun_{0};
  std::atomic<int> produced_{0};
  std::atomic<int> given_up_{0};
  std::counting_semaphore<100'000> gate_{0};
  const testing::TempFolder temp_;
  const std::string folder_ = temp_.path();
  std::unique_ptr<CommandService> commands_;
  std::unique_ptr<GrpcServer> server_;
  std::thread thread_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<SnakepitBridge::Stub> stub_;
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_WORKER_GRPC_TESTING_FIXTURE_H_
