#include "src/worker/grpc/server.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <future>
#include <limits>
#include <map>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "proto/snakepit.grpc.pb.h"
#include "src/wire/msgpack.h"

namespace snakepit {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using namespace std::chrono_literals;

constexpr std::chrono::seconds kLimit{20};
constexpr char kToken[] = "0123456789abcdef0123456789abcdef";

std::string Typed(const Value& value) {
  std::string bytes;
  EXPECT_TRUE(EncodeMsgpack(value, &bytes));
  return bytes;
}

Value Untyped(const std::string& bytes) {
  auto value = DecodeMsgpack(bytes);
  EXPECT_TRUE(value) << value.error().ToString();
  return value ? *value : Value();
}

// A server within this process, on a Unix socket, and its client.
class GrpcServerTest : public ::testing::Test {
 protected:
  GrpcServerTest() {
    std::string folder = "/tmp/spXXXXXX";
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }

  ~GrpcServerTest() override {
    if (server_) {
      gate_.release(1000);
      End();
    }
    EXPECT_EQ(rmdir(folder_.c_str()), 0) << "a file is left";
  }

  void Create(int capacity = 1) {
    core_ = std::make_unique<WorkerCore>("test", WorkerOptions{.capacity = capacity});
    core_->registry.Add("echo", [](const Call& call) { return call.args(); });
    // Waits for a Release, deaf to all else.
    core_->registry.Add("gate", [this](const Call& call) {
      ++begun_;
      gate_.acquire();
      return call.args();
    });
    core_->registry.Add("wait", [this](const Call& call) {
      ++begun_;
      call.Wait(10 * kLimit);
      return call.cancelled();
    });
    core_->registry.AddStream("chunks", [this](const Call& call, ChunkSink& out) -> Result<void> {
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
    server_ = std::make_unique<GrpcServer>(*core_, max_message_bytes);
    // A blank: gRPC reads addresses as URIs.
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

  // Whether nothing was running any more.
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
    const auto deadline = std::chrono::steady_clock::now() + kLimit;
    while (counter < count) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << counter << " of " << count;
      std::this_thread::yield();
    }
  }

  std::atomic<int> begun_{0};
  std::atomic<int> produced_{0};
  std::atomic<int> given_up_{0};
  std::counting_semaphore<100'000> gate_{0};
  std::string folder_;
  std::unique_ptr<WorkerCore> core_;
  std::unique_ptr<GrpcServer> server_;
  std::thread thread_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<SnakepitBridge::Stub> stub_;
};

// Before their memory is taken.
TEST_F(GrpcServerTest, ArgumentsOverTheLimitOfMemoryAreRefused) {
  Create();
  Serve();
  std::string args;
  AppendMsgpackMapHeader(1, &args);
  AppendMsgpackText("a", &args);
  AppendMsgpackArrayHeader(34'000'000, &args);
  args.append(34'000'000, '\xc0');
  ExecuteRequest request;
  request.set_command("echo");
  request.set_request_id("7");
  request.set_typed_args(std::move(args));
  const ExecuteResponse response = Execute(request);
  EXPECT_FALSE(response.success());
  EXPECT_EQ(response.code(), "MESSAGE_TOO_LARGE") << response.error();
  EXPECT_THAT(response.error(), ::testing::HasSubstr("max_decoded_bytes of 536870912"));
  EXPECT_TRUE(response.did_not_run());
}

TEST_F(GrpcServerTest, AgreesOnVersion2) {
  Create(5);
  Serve(1 << 20);
  InfoRequest request;
  request.set_protocol_version(3);
  request.add_features("session");
  request.add_features("a-later-one");
  const InfoResponse response = GetInfo(request);
  EXPECT_EQ(response.protocol_version(), 2);
  EXPECT_THAT(response.features(), ElementsAre("session"));
  EXPECT_EQ(response.capacity(), 5);
  EXPECT_EQ(response.max_message_bytes(), 1 << 20);
  EXPECT_EQ(response.worker_id(), core_->worker_id);
}

TEST_F(GrpcServerTest, APoolOfVersion1IsToldNothingOfVersion2) {
  Create(5);
  Serve();
  InfoRequest request;
  request.set_include_capabilities(true);
  request.set_include_stats(true);
  const InfoResponse response = GetInfo(request);
  EXPECT_EQ(response.protocol_version(), 0);
  EXPECT_EQ(response.capacity(), 0);
  EXPECT_EQ(response.worker_id(), "");
  EXPECT_EQ(response.worker_type(), "test");
  EXPECT_THAT(response.supported_commands(),
              ElementsAre("chunks", "echo", "gate", "info", "ping", "wait"));
  EXPECT_EQ(response.capabilities().at("streaming"), "true");
  EXPECT_GT(response.stats().memory_usage_bytes(), 1 << 20);
  EXPECT_TRUE(response.system_info().contains("pid"));
}

TEST_F(GrpcServerTest, CarriesEveryTypedValue) {
  Create();
  Serve();
  const Value args = Value::Map{{"bytes", Bytes{"1"}},
                                {"nested", Value::Array{Bytes{"\xff"}, Value::Map{}}},
                                {"infinity", std::numeric_limits<double>::infinity()},
                                {"text", "5"},
                                {"large", UINT64_MAX}};
  const ExecuteResponse response = Execute("echo", args);
  EXPECT_TRUE(response.success());
  EXPECT_EQ(response.request_id(), "7");
  EXPECT_EQ(Untyped(response.typed_result()), args);
  EXPECT_TRUE(response.result().empty());
}

TEST_F(GrpcServerTest, ServesVersion1ByItsRules) {
  Create();
  core_->registry.Add("text", [](const Call&) { return "5"; });
  core_->registry.Add("nested_bytes", [](const Call&) {
    return Value::Map{{"a", Value::Array{Bytes{"x"}}}};
  });
  Serve();
  ExecuteRequest request;
  request.set_command("echo");
  request.set_request_id("9");
  const std::map<std::string, std::string> args = {{"integer", "31"}, {"quoted", "\"5\""},
                                                   {"text", "abc"},   {"bytes", "\xff"},
                                                   {"null", "null"},  {"array", "[1,2.0]"}};
  request.mutable_args()->insert(args.begin(), args.end());
  ExecuteResponse response = Execute(request);
  EXPECT_TRUE(response.success());
  EXPECT_EQ(response.request_id(), "9");
  EXPECT_GT(response.timestamp(), 0);
  auto expected = args;
  expected["quoted"] = "5";  // the text, raw
  EXPECT_EQ(
      (std::map<std::string, std::string>(response.result().begin(), response.result().end())),
      expected);
  EXPECT_EQ(response.typed_result(), "");
  request.set_command("text");
  EXPECT_EQ(Execute(request).result().at("result"), "5");
  request.set_command("nested_bytes");
  response = Execute(request);
  EXPECT_FALSE(response.success());
  EXPECT_EQ(response.code(), "HANDLER_FAILED");
  EXPECT_THAT(response.error(), HasSubstr("result.a[0]"));
}

TEST_F(GrpcServerTest, ErrorsAreInTheReply) {
  Create();
  core_->registry.Add("throw", [](const Call&) -> Value { throw std::out_of_range("no row 2"); });
  core_->registry.Add(
      "long", [](const Call&) -> Value { throw std::runtime_error(std::string(5000, 'x')); });
  core_->registry.Add("large", [](const Call&) { return std::string(5000, 'x'); });
  core_->registry.Add("bad", [](const Call&) { return "\xff"; });
  Serve(4096);
  ExecuteResponse response = Execute("throw");
  EXPECT_FALSE(response.success());
  EXPECT_EQ(response.error(), "std::out_of_range: no row 2");
  EXPECT_EQ(response.code(), "HANDLER_FAILED");
  EXPECT_FALSE(response.did_not_run());
  response = Execute("nope");
  EXPECT_EQ(response.code(), "UNIMPLEMENTED");
  EXPECT_TRUE(response.did_not_run());
  EXPECT_THAT(response.error(), StartsWith("Unknown command: nope"));
  response = Execute("long");
  EXPECT_EQ(response.code(), "HANDLER_FAILED");
  EXPECT_LE(response.ByteSizeLong(), 4096u);
  EXPECT_GT(response.error().size(), 3900u);
  response = Execute("large");
  EXPECT_EQ(response.code(), "MESSAGE_TOO_LARGE");
  EXPECT_FALSE(response.did_not_run());
  EXPECT_EQ(Execute("bad").code(), "HANDLER_FAILED");
  ExecuteRequest request;
  request.set_command("echo");
  request.set_typed_args("\xc1");
  response = Execute(request);
  EXPECT_EQ(response.code(), "INVALID_ARGUMENT");
  EXPECT_TRUE(response.did_not_run());
  EXPECT_EQ(Health().total_errors(), 6);
  EXPECT_EQ(Health().total_requests(), 6);
}

TEST_F(GrpcServerTest, KeepsToWhatThePoolReads) {
  Create();
  core_->registry.Add("large", [](const Call&) { return std::string(5000, 'x'); });
  Serve();
  EXPECT_TRUE(Execute("large").success());
  InfoRequest request;
  request.set_protocol_version(2);
  request.set_max_message_bytes(4096);
  GetInfo(request);
  EXPECT_EQ(Execute("large").code(), "MESSAGE_TOO_LARGE");
}

TEST_F(GrpcServerTest, StreamsChunks) {
  Create();
  Serve();
  const auto messages = Stream("chunks", Value::Map{{"n", 3}});
  ASSERT_EQ(messages.size(), 4u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Untyped(messages[i].typed_chunk()), Value(Value::Map{{"i", i}}));
    EXPECT_EQ(messages[i].chunk_index(), i);
    EXPECT_FALSE(messages[i].is_final());
  }
  EXPECT_TRUE(messages[3].is_final());
  EXPECT_EQ(messages[3].typed_chunk(), "");
  EXPECT_EQ(messages[3].chunk_index(), 3);
  EXPECT_EQ(Stream("chunks", Value::Map{{"n", 0}}).size(), 1u);
}

TEST_F(GrpcServerTest, TheLastChunkIsMarked) {
  Create();
  core_->registry.AddStream("last", [](const Call&, ChunkSink& out) -> Result<void> {
    if (out.Send(1)) out.SendLast(Value::Map{});
    if (out.Send(2)) std::abort();
    return {};
  });
  Serve();
  const auto messages = Stream("last", Value::Map{});
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_TRUE(messages[1].is_final());
  EXPECT_EQ(Untyped(messages[1].typed_chunk()), Value(Value::Map{}));
  // In version 1 an empty map and no chunk look the same.
  ExecuteRequest request;
  request.set_command("last");
  const auto legacy = Stream(request);
  ASSERT_EQ(legacy.size(), 3u);
  EXPECT_EQ(legacy[0].chunk().at("result"), "1");
  EXPECT_FALSE(legacy[1].is_final());
  EXPECT_TRUE(legacy[2].is_final());
}

TEST_F(GrpcServerTest, AStreamMayEndInAnErrorAfterKChunks) {
  Create();
  core_->registry.AddStream("fails", [](const Call&, ChunkSink& out) -> Result<void> {
    if (out.Send(1) && out.Send(2)) throw std::runtime_error("no row 2");
    return {};
  });
  Serve();
  const auto messages = Stream("fails", Value::Map{});
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_TRUE(messages[2].is_final());
  EXPECT_EQ(messages[2].error(), "std::runtime_error: no row 2");
  EXPECT_EQ(messages[2].chunk_index(), 2);
  const auto unknown = Stream("nope", Value::Map{});
  ASSERT_EQ(unknown.size(), 1u);
  EXPECT_EQ(unknown[0].code(), "UNIMPLEMENTED");
}

TEST_F(GrpcServerTest, AChunkThatCannotBeSentEndsTheStream) {
  Create();
  core_->registry.AddStream("bad", [](const Call&, ChunkSink& out) -> Result<void> {
    if (out.Send(1) && out.Send("\xff")) std::abort();
    return {};
  });
  Serve(4096);
  auto messages = Stream("chunks", Value::Map{{"n", 2}, {"size", 5000}});
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].code(), "MESSAGE_TOO_LARGE");
  EXPECT_EQ(produced_, 1);
  messages = Stream("bad", Value::Map{});
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[1].code(), "HANDLER_FAILED");
  EXPECT_EQ(messages[1].chunk_index(), 1);
}

TEST_F(GrpcServerTest, CommandsAndStreamsStandInForEachOther) {
  Create();
  Serve();
  const auto messages = Stream("echo", Value::Map{{"a", 1}});
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_TRUE(messages[0].is_final());
  EXPECT_EQ(Untyped(messages[0].typed_chunk()), Value(Value::Map{{"a", 1}}));
  EXPECT_EQ(Untyped(Execute("chunks", Value::Map{{"n", 1}}).typed_result()),
            Value(Value::Map{{"chunks", Value::Array{Value::Map{{"i", 0}}}}}));
}

TEST_F(GrpcServerTest, AReaderThatStallsStopsTheProducer) {
  Create();
  Serve();
  grpc::ClientContext context;
  SetUp(&context);
  ExecuteRequest request;
  request.set_command("chunks");
  request.set_typed_args(Typed(Value::Map{{"n", 10'000}, {"size", 64 << 10}}));
  auto reader = stub_->ExecuteStream(&context, request);
  StreamResponse message;
  ASSERT_TRUE(reader->Read(&message));
  // It comes to rest far from the 10,000: what the transport holds is bounded.
  int before = -1;
  for (int now = produced_; now != before; now = produced_) {
    before = now;
    for (int i = 0; i < 20; ++i) Health();  // as good as a pause, and it is answered
  }
  EXPECT_LT(produced_, 1000);
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  AwaitAtLeast(given_up_, 1);
}

TEST_F(GrpcServerTest, ACallIsCancelledWhileItRuns) {
  Create();
  Serve();
  grpc::ClientContext context;
  // So far off that the calls below would fail first.
  context.set_deadline(std::chrono::system_clock::now() + 10 * kLimit);
  ExecuteRequest request;
  request.set_command("wait");
  request.set_request_id("the one");
  ExecuteResponse response;
  auto status =
      std::async(std::launch::async, [&] { return stub_->Execute(&context, request, &response); });
  AwaitAtLeast(begun_, 1);
  EXPECT_THAT(Health().active_request_ids(), ElementsAre("the one"));
  context.TryCancel();
  EXPECT_EQ(status.get().error_code(), grpc::StatusCode::CANCELLED);
  // The handler is free for the next.
  EXPECT_TRUE(Execute("echo").success());
  EXPECT_TRUE(Health().active_request_ids().empty());
}

TEST_F(GrpcServerTest, AHandlerThatIgnoresItsCancellationIsListedUntilItEnds) {
  Create();
  Serve();
  grpc::ClientContext context;
  SetUp(&context);
  ExecuteRequest request;
  request.set_command("gate");
  request.set_request_id("deaf");
  ExecuteResponse response;
  auto status =
      std::async(std::launch::async, [&] { return stub_->Execute(&context, request, &response); });
  AwaitAtLeast(begun_, 1);
  context.TryCancel();
  EXPECT_EQ(status.get().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_THAT(Health().active_request_ids(), ElementsAre("deaf"));
  gate_.release();
  EXPECT_TRUE(Execute("echo").success());
  EXPECT_TRUE(Health().active_request_ids().empty());
}

TEST_F(GrpcServerTest, ACallThatIsCancelledBeforeItsTurnIsNotBegun) {
  Create(1);
  Serve();
  grpc::ClientContext first, second;
  SetUp(&first);
  SetUp(&second);
  ExecuteRequest request;
  request.set_command("gate");
  ExecuteResponse first_response, second_response;
  auto running = std::async(std::launch::async,
                            [&] { return stub_->Execute(&first, request, &first_response); });
  AwaitAtLeast(begun_, 1);
  auto waiting = std::async(std::launch::async,
                            [&] { return stub_->Execute(&second, request, &second_response); });
  // It is there when a call that came later has an answer.
  second.TryCancel();
  EXPECT_EQ(waiting.get().error_code(), grpc::StatusCode::CANCELLED);
  Health();
  gate_.release();
  EXPECT_TRUE(running.get().ok());
  EXPECT_TRUE(Execute("echo").success());
  EXPECT_EQ(begun_, 1);
}

TEST_F(GrpcServerTest, AHandlerSeesTheEarlierOfTwoDeadlines) {
  Create();
  core_->registry.Add("left", [](const Call& call) { return call.time_left()->count(); });
  Serve();
  EXPECT_LE(*Untyped(Execute("left").typed_result()).get_if<int64_t>(), 21'000);
  ExecuteRequest request;
  request.set_command("left");
  request.set_typed_args(Typed(Value::Map{}));
  request.set_timeout_ms(10'000);
  EXPECT_LE(*Untyped(Execute(request).typed_result()).get_if<int64_t>(), 10'000);
  request.set_timeout_ms(20);
  request.set_command("wait");
  EXPECT_EQ(Execute(request).code(), "DEADLINE_EXCEEDED");
  request.set_timeout_ms(-1);
  const ExecuteResponse late = Execute(request);
  EXPECT_EQ(late.code(), "DEADLINE_EXCEEDED");
  EXPECT_TRUE(late.did_not_run());
  EXPECT_EQ(begun_, 1);
}

TEST_F(GrpcServerTest, HealthAndInfoAreAnsweredWhileAllHandlersAreBusy) {
  constexpr int kCalls = 40;
  Create(kCalls);
  Serve();
  ExecuteRequest request;
  request.set_command("gate");
  std::vector<std::future<ExecuteResponse>> calls;
  for (int i = 0; i < kCalls; ++i) {
    request.set_request_id(std::to_string(i));
    request.set_typed_args(Typed(Value::Map{{"i", i}}));
    calls.push_back(std::async(std::launch::async, [this, request] { return Execute(request); }));
  }
  AwaitAtLeast(begun_, kCalls);
  EXPECT_TRUE(Health().healthy());
  EXPECT_EQ(Health().active_request_ids_size(), kCalls);
  EXPECT_EQ(GetInfo({}).worker_type(), "test");
  gate_.release(kCalls);
  for (int i = 0; i < kCalls; ++i) {
    EXPECT_EQ(Untyped(calls[i].get().typed_result()), Value(Value::Map{{"i", i}}));
  }
}

TEST_F(GrpcServerTest, ASessionKeepsItsStateUntilItsEnd) {
  Create();
  core_->registry.Add("count", [](const Call& call) {
    Value now;
    call.UseSession([&](Value& state) {
      const int64_t* before = state.get_if<int64_t>();
      now = state = before == nullptr ? 1 : *before + 1;
    });
    return now;
  });
  Serve();
  SessionRequest request;
  request.set_session_id("s");
  request.set_command("count");
  request.set_typed_args(Typed(Value::Map{}));
  EXPECT_EQ(Untyped(ExecuteInSession(request).typed_result()), Value(1));
  EXPECT_EQ(Untyped(ExecuteInSession(request).typed_result()), Value(2));
  SessionRequest end;
  end.set_session_id("s");
  end.set_end_session(true);
  EXPECT_TRUE(ExecuteInSession(end).success());
  EXPECT_EQ(Untyped(ExecuteInSession(request).typed_result()), Value(1));
  request.clear_session_id();
  EXPECT_EQ(ExecuteInSession(request).code(), "INVALID_ARGUMENT");
}

TEST_F(GrpcServerTest, EveryMethodNeedsTheToken) {
  Create();
  core_->token = kToken;
  Serve();
  std::vector<std::string> texts;
  for (const char* token :
       {"", "0123456789abcdef0123456789abcdeF", "0123456789abcdef0123456789abcdef0"}) {
    const auto context = [&] {
      auto made = std::make_unique<grpc::ClientContext>();
      made->set_deadline(std::chrono::system_clock::now() + kLimit);
      if (*token != '\0') made->AddMetadata("snakepit-token", token);
      return made;
    };
    const auto check = [&](const char* method, const grpc::Status& status) {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << method;
      texts.push_back(status.error_message());
    };
    ExecuteRequest execute;
    execute.set_command("echo");
    SessionRequest session;
    session.set_session_id("s");
    session.set_command("echo");
    ExecuteResponse response;
    HealthResponse health;
    InfoResponse info;
    check("Execute", stub_->Execute(context().get(), execute, &response));
    check("ExecuteInSession", stub_->ExecuteInSession(context().get(), session, &response));
    check("Health", stub_->Health(context().get(), {}, &health));
    check("GetInfo", stub_->GetInfo(context().get(), {}, &info));
    auto stream_context = context();
    check("ExecuteStream", stub_->ExecuteStream(stream_context.get(), execute)->Finish());
    stream_context = context();
    check("ExecuteInSessionStream",
          stub_->ExecuteInSessionStream(stream_context.get(), session)->Finish());
  }
  EXPECT_EQ(texts.size(), 18u);
  for (const std::string& text : texts) EXPECT_EQ(text, texts[0]);
  EXPECT_TRUE(Execute("echo").success());
  EXPECT_EQ(core_->total_requests(), 1);
  EXPECT_EQ(core_->sessions.size(), 0u);
}

TEST_F(GrpcServerTest, AMessageOverTheLimitIsRefusedUnread) {
  Create();
  Serve(4096);
  ExecuteRequest request;
  request.set_command("echo");
  request.set_typed_args(Typed(Value::Map{{"a", std::string(5000, 'x')}}));
  grpc::ClientContext context;
  SetUp(&context);
  ExecuteResponse response;
  EXPECT_EQ(stub_->Execute(&context, request, &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(GrpcServerTest, CallsInProgressEndAfterTerminate) {
  Create();
  Serve();
  auto running = std::async(std::launch::async, [this] { return Execute("gate"); });
  AwaitAtLeast(begun_, 1);
  server_->Terminate();
  gate_.release();
  EXPECT_TRUE(running.get().success());
}

TEST_F(GrpcServerTest, TheSocketIsPrivateAndIsNotTakenFromAServerThatLives) {
  Create();
  Serve();
  const std::string path = folder_ + "/a socket";
  struct stat there {};
  ASSERT_EQ(stat(path.c_str(), &there), 0);
  EXPECT_EQ(there.st_mode & 0777, 0700u);
  GrpcServer second(*core_, 4096);
  const auto started = second.Start({.socket_path = path});
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("another server does"));
  EXPECT_TRUE(Execute("echo").success());
}

TEST(GrpcListeningUriTest, RefusesWhatCannotBeASocket) {
  EXPECT_EQ(GrpcListeningUri({.host = "::1", .port = 7}).value(), "[::1]:7");
  EXPECT_EQ(GrpcListeningUri({.socket_path = "/tmp/a b"}).value(), "unix:/tmp/a%20b");
  EXPECT_THAT(GrpcListeningUri({.socket_path = "/dev/null"}).error().message,
              HasSubstr("a file is there"));
  EXPECT_TRUE(GrpcListeningUri({.socket_path = "/" + std::string(106, 'x')}));
  EXPECT_THAT(GrpcListeningUri({.socket_path = "/" + std::string(107, 'x')}).error().message,
              HasSubstr("107 bytes"));
}

}  // namespace
}  // namespace snakepit
