// Refusals of clients that may not call, and of those that call too much.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "proto/snakepit.grpc.pb.h"
#include "src/base/testing/await.h"
#include "src/base/testing/temp_folder.h"
#include "src/worker/grpc/read_gate.h"
#include "src/worker/grpc/server.h"

namespace snakepit {
namespace {

constexpr std::chrono::seconds kLimit{20};
constexpr char kToken[] = "0123456789abcdef0123456789abcdef";
constexpr char kOther[] = "0123456789abcdef0123456789abcdeF";

using Metadata = std::vector<std::pair<std::string, std::string>>;

std::unique_ptr<grpc::ClientContext> Context(const Metadata& metadata) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + kLimit);
  for (const auto& [name, value] : metadata) context->AddMetadata(name, value);
  return context;
}

// A server within this process, on a Unix socket.
class GrpcIntruderTest : public ::testing::Test {
 protected:
  explicit GrpcIntruderTest(std::chrono::steady_clock::duration arrival_limit = kArrivalLimit)
      : commands_("test", WorkerOptions{.capacity = 1}),
        server_(commands_, 64u << 20, arrival_limit) {
    commands_.token = kToken;
    commands_.registry.Add("echo", [](const Call& call) { return call.args(); });
    commands_.registry.Add("gate", [this](const Call&) {
      ++begun_;
      gate_.acquire();
      return Value();
    });
    const auto started = server_.Start({.socket_path = folder_ + "/socket"});
    EXPECT_TRUE(started) << started.error().ToString();
    thread_ = std::thread([this] {
      PoolWatch nobody;
      server_.Run(nobody);
    });
    channel_ =
        grpc::CreateChannel("unix:" + folder_ + "/socket", grpc::InsecureChannelCredentials());
    stub_ = SnakepitBridge::NewStub(channel_);
  }

  ~GrpcIntruderTest() override {
    gate_.release(1000);
    server_.Terminate();
    thread_.join();
  }

  grpc::Status Execute(const Metadata& metadata, ExecuteResponse* response) {
    ExecuteRequest request;
    request.set_command("echo");
    request.set_typed_args("\x80");
    return stub_->Execute(Context(metadata).get(), request, response);
  }

  // Sends the headers of an RPC alone, and returns how it ends.
  grpc::Status SendHeaders(const std::string& method, const Metadata& metadata) {
    grpc::GenericStub generic(channel_);
    grpc::CompletionQueue queue;
    const auto context = Context(metadata);
    auto stream = generic.PrepareCall(context.get(), method, &queue);
    const auto await = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      EXPECT_TRUE(queue.Next(&tag, &ok));
    };
    stream->StartCall(nullptr);
    await();
    grpc::Status status;
    stream->Finish(&status, nullptr);
    await();
    return status;
  }

  CommandService commands_;
  GrpcServer server_;
  const testing::TempFolder temp_;
  const std::string folder_ = temp_.path();
  std::thread thread_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<SnakepitBridge::Stub> stub_;
  std::atomic<int> begun_{0};
  std::counting_semaphore<100'000> gate_{0};
};

TEST_F(GrpcIntruderTest, TwoTokensAreRefusedThoughOneIsRight) {
  for (const auto& tokens : {std::pair{kToken, kOther}, {kOther, kToken}, {kToken, kToken}}) {
    ExecuteResponse response;
    const grpc::Status status =
        Execute({{"snakepit-token", tokens.first}, {"snakepit-token", tokens.second}}, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  }
  EXPECT_EQ(commands_.total_requests(), 0);
  ExecuteResponse response;
  EXPECT_TRUE(Execute({{"snakepit-token", kToken}}, &response).ok());
  EXPECT_TRUE(response.success());
}

// A server that reads first would wait for the message until the deadline.
TEST_F(GrpcIntruderTest, WithoutTheTokenTheHeadersAreEnoughToBeRefused) {
  for (const char* method : {"Execute", "ExecuteStream", "ExecuteInSession",
                             "ExecuteInSessionStream", "Health", "GetInfo", "NoSuchMethod"}) {
    const std::string path = std::string("/snakepit.SnakepitBridge/") + method;
    for (const Metadata& metadata : {Metadata{}, Metadata{{"snakepit-token", kOther}}}) {
      const grpc::Status status = SendHeaders(path, metadata);
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << method;
      EXPECT_EQ(status.error_message(), "snakepit-token is missing or wrong");
    }
  }
}

TEST_F(GrpcIntruderTest, AMethodThatIsNotThereIsUnimplemented) {
  for (const char* path : {"/snakepit.SnakepitBridge/NoSuchMethod", "/other.Service/Execute"}) {
    EXPECT_EQ(SendHeaders(path, {{"snakepit-token", kToken}}).error_code(),
              grpc::StatusCode::UNIMPLEMENTED);
  }
}

TEST_F(GrpcIntruderTest, WhatIsNoMessageIsRefused) {
  grpc::GenericStub generic(channel_);
  grpc::Slice slice("\xff\xff\xff");
  for (const char* method : {"Execute", "ExecuteStream", "ExecuteInSession", "Health", "GetInfo"}) {
    grpc::ByteBuffer request(&slice, 1), response;
    const auto context = Context({{"snakepit-token", kToken}});
    std::promise<grpc::Status> ended;
    generic.UnaryCall(context.get(), std::string("/snakepit.SnakepitBridge/") + method, {},
                      &request, &response, [&](const grpc::Status& s) { ended.set_value(s); });
    EXPECT_EQ(ended.get_future().get().error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
  }
}

// However many calls there are, what they hold is bounded, and Health is answered.
TEST_F(GrpcIntruderTest, CallsFarOverTheCapacityStayWithTheClientAndAreServed) {
  constexpr int kCalls = 12;
  ExecuteRequest request;
  request.set_command("gate");
  request.set_typed_args(std::string(1 << 20, '\xc0'));  // read when its turn comes, and no map
  std::vector<std::future<std::string>> calls;
  ExecuteRequest first;
  first.set_command("gate");
  first.set_typed_args("\x80");
  const auto call = [this](const ExecuteRequest& sent) {
    return std::async(std::launch::async, [this, sent] {
      ExecuteResponse response;
      const grpc::Status status =
          stub_->Execute(Context({{"snakepit-token", kToken}}).get(), sent, &response);
      return status.ok() ? response.code() : status.error_message();
    });
  };
  auto running = call(first);
  ASSERT_TRUE(testing::Await([this] { return begun_ > 0; }));
  for (int i = 0; i < kCalls; ++i) calls.push_back(call(request));
  HealthResponse health;
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(stub_->Health(Context({{"snakepit-token", kToken}}).get(), {}, &health).ok());
  }
  gate_.release();
  EXPECT_EQ(running.get(), "");
  for (auto& waiting : calls) EXPECT_EQ(waiting.get(), "INVALID_ARGUMENT");
}

class GrpcArrivalTest : public GrpcIntruderTest {
 protected:
  GrpcArrivalTest() : GrpcIntruderTest(std::chrono::milliseconds(400)) {}

  // RPCs without a time limit that send their headers alone.
  class Unfinished {
   public:
    Unfinished(GrpcArrivalTest& test, const std::string& method, int count)
        : rpcs_(count), left_(count) {
      grpc::GenericStub generic(test.channel_);
      for (Rpc& rpc : rpcs_) {
        rpc.context.AddMetadata("snakepit-token", kToken);
        rpc.stream =
            generic.PrepareCall(&rpc.context, "/snakepit.SnakepitBridge/" + method, &queue_);
        rpc.stream->StartCall(&rpc);
        EXPECT_EQ(Next(), &rpc);
      }
    }
    // Returns how the first RPC ends. The server may begin RPCs in another order than their
    // headers were sent. So `call_another` runs until the first one ends.
    grpc::Status AwaitFirst(const std::function<void()>& call_another) {
      for (Rpc& rpc : rpcs_) rpc.stream->Finish(&rpc.status, &rpc);
      const auto end = std::chrono::steady_clock::now() + kLimit;
      while (std::chrono::steady_clock::now() < end) {
        call_another();
        void* tag = nullptr;
        bool ok = false;
        if (queue_.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + kPause) ==
            grpc::CompletionQueue::GOT_EVENT) {
          --left_;
          return static_cast<Rpc*>(tag)->status;
        }
      }
      ADD_FAILURE() << "no RPC ends";
      return {};
    }
    // Call it after AwaitFirst.
    void CancelRest() {
      for (Rpc& rpc : rpcs_) rpc.context.TryCancel();
      for (; left_ > 0; --left_) Next();
    }

   private:
    static constexpr std::chrono::milliseconds kPause{50};

    struct Rpc {
      grpc::ClientContext context;
      std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream;
      grpc::Status status;
    };

    void* Next() {
      void* tag = nullptr;
      bool ok = false;
      EXPECT_TRUE(queue_.Next(&tag, &ok));
      return tag;
    }

    grpc::CompletionQueue queue_;
    std::vector<Rpc> rpcs_;
    int left_;  // RPCs that have not ended
  };
};

// There are as many as are read at one time, and they never come.
TEST_F(GrpcArrivalTest, RequestsWithoutAMessageDoNotKeepOthersWaiting) {
  for (const auto& [method, count] : {std::pair{"Health", 16}, {"Execute", 2}}) {
    Unfinished rpcs(*this, method, count);
    const grpc::Status first = rpcs.AwaitFirst([&, is_health = count == 16] {
      grpc::Status other;
      if (is_health) {
        HealthResponse health;
        other = stub_->Health(Context({{"snakepit-token", kToken}}).get(), {}, &health);
      } else {
        ExecuteResponse response;
        other = Execute({{"snakepit-token", kToken}}, &response);
      }
      EXPECT_TRUE(other.ok()) << other.error_message();
    });
    EXPECT_EQ(first.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    EXPECT_THAT(first.error_message(), ::testing::HasSubstr("did not come in time"));
    rpcs.CancelRest();
  }
}

// A request that runs, and one that waits for its turn, may take any time.
TEST_F(GrpcArrivalTest, RequestsThatHaveComeAreNotGivenUp) {
  ExecuteRequest request;
  request.set_command("gate");
  request.set_typed_args("\x80");
  std::vector<std::future<grpc::Status>> calls;
  for (int i = 0; i < 6; ++i) {
    calls.push_back(std::async(std::launch::async, [this, request] {
      ExecuteResponse response;
      return stub_->Execute(Context({{"snakepit-token", kToken}}).get(), request, &response);
    }));
  }
  ASSERT_TRUE(testing::Await([this] { return begun_ > 0; }));
  // Twice the limit.
  EXPECT_EQ(calls[0].wait_for(std::chrono::milliseconds(800)), std::future_status::timeout);
  gate_.release(6);
  for (auto& call : calls) EXPECT_TRUE(call.get().ok());
}

struct CountedRequest : ReadGate::Request {
  explicit CountedRequest(int* count) : count(count) {}
  void Read() override { ++*count; }
  void GiveUp() override { *count = -1; }
  int* const count;
};

TEST(ReadGateTest, LetsSoManyInAndTheNextInTheirOrder) {
  int reads[5] = {};
  std::vector<std::shared_ptr<CountedRequest>> requests;
  ReadGate gate(2, kArrivalLimit);
  for (int& count : reads) {
    requests.push_back(std::make_shared<CountedRequest>(&count));
    gate.Enter(requests.back());
  }
  EXPECT_THAT(reads, ::testing::ElementsAre(1, 1, 0, 0, 0));
  EXPECT_TRUE(gate.Withdraw(requests[2].get()));
  EXPECT_FALSE(gate.Withdraw(requests[2].get()));
  EXPECT_FALSE(gate.Withdraw(requests[0].get()));
  gate.Leave();
  EXPECT_THAT(reads, ::testing::ElementsAre(1, 1, 0, 1, 0));
  for (int i = 0; i < 3; ++i) gate.Leave();
  EXPECT_THAT(reads, ::testing::ElementsAre(1, 1, 0, 1, 1));
  EXPECT_TRUE(gate.Arrive(requests[4].get()));
  EXPECT_EQ(requests[4].use_count(), 1);
  EXPECT_TRUE(gate.Enter(requests[2]));
  EXPECT_EQ(reads[2], 1);
}

TEST(ReadGateTest, GivesUpThoseThatDoNotArriveWhenOthersWait) {
  int reads[4] = {};
  std::vector<std::shared_ptr<CountedRequest>> requests;
  for (int& count : reads) requests.push_back(std::make_shared<CountedRequest>(&count));
  ReadGate gate(2, std::chrono::nanoseconds(1));
  EXPECT_TRUE(gate.Enter(requests[0]));
  EXPECT_TRUE(gate.Enter(requests[1]));
  EXPECT_TRUE(gate.Arrive(requests[0].get()));
  EXPECT_EQ(gate.GiveUpLate(), std::nullopt);
  EXPECT_THAT(reads, ::testing::ElementsAre(1, 1, 0, 0));
  EXPECT_FALSE(gate.Enter(requests[2]));
  while (reads[1] != -1) EXPECT_NE(gate.GiveUpLate(), std::nullopt);
  EXPECT_FALSE(gate.Arrive(requests[1].get()));
  EXPECT_EQ(requests[1].use_count(), 1);
  EXPECT_THAT(reads, ::testing::ElementsAre(1, -1, 0, 0));
  gate.Leave();
  EXPECT_THAT(reads, ::testing::ElementsAre(1, -1, 1, 0));
  EXPECT_EQ(gate.GiveUpLate(), std::nullopt);
  EXPECT_TRUE(gate.Arrive(requests[2].get()));
}

TEST(ReadGateTest, TellsWhenTheNextIsLate) {
  int reads[2] = {};
  ReadGate gate(1, std::chrono::hours(1));
  EXPECT_TRUE(gate.Enter(std::make_shared<CountedRequest>(&reads[0])));
  EXPECT_FALSE(gate.Enter(std::make_shared<CountedRequest>(&reads[1])));
  const auto next = gate.GiveUpLate();
  ASSERT_TRUE(next);
  EXPECT_EQ(gate.GiveUpLate(), next);
  EXPECT_THAT(reads, ::testing::ElementsAre(1, 0));
}

}  // namespace
}  // namespace snakepit
