#include "src/worker/grpc/server.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <limits>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "src/wire/msgpack.h"
#include "src/worker/grpc/testing/fixture.h"

namespace snakepit {
namespace {

using ::testing::ElementsAre;
using testing::GrpcServerTest;
using ::testing::HasSubstr;
using testing::kLimit;
using testing::kToken;
using ::testing::StartsWith;
using testing::Typed;
using testing::Untyped;

// They are refused before their memory is taken.
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
  EXPECT_EQ(response.worker_id(), commands_->worker_id);
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
  commands_->registry.Add("text", [](const Call&) { return "5"; });
  commands_->registry.Add("nested_bytes", [](const Call&) {
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
  commands_->registry.Add("throw",
                          [](const Call&) -> Value { throw std::out_of_range("no row 2"); });
  commands_->registry.Add(
      "long", [](const Call&) -> Value { throw std::runtime_error(std::string(5000, 'x')); });
  commands_->registry.Add("large", [](const Call&) { return std::string(5000, 'x'); });
  commands_->registry.Add("bad", [](const Call&) { return "\xff"; });
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
  commands_->registry.Add("large", [](const Call&) { return std::string(5000, 'x'); });
  Serve();
  EXPECT_TRUE(Execute("large").success());
  InfoRequest request;
  request.set_protocol_version(2);
  request.set_max_message_bytes(4096);
  GetInfo(request);
  EXPECT_EQ(Execute("large").code(), "MESSAGE_TOO_LARGE");
}

TEST_F(GrpcServerTest, EveryMethodNeedsTheToken) {
  Create();
  commands_->token = kToken;
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
  EXPECT_EQ(commands_->total_requests(), 1);
  EXPECT_EQ(commands_->sessions.size(), 0u);
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

TEST_F(GrpcServerTest, TheSocketIsPrivateAndIsNotTakenFromAServerThatLives) {
  Create();
  Serve();
  const std::string path = folder_ + "/a socket";
  struct stat there {};
  ASSERT_EQ(stat(path.c_str(), &there), 0);
  EXPECT_EQ(there.st_mode & 0777, 0700u);
  GrpcServer second(*commands_, 4096);
  const auto started = second.Start({.socket_path = path});
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("another server listens there"));
  EXPECT_TRUE(Execute("echo").success());
}

TEST(GrpcListeningUriTest, RefusesWhatCannotBeASocket) {
  EXPECT_EQ(GrpcListeningUri({.host = "::1", .port = 7}).value(), "[::1]:7");
  EXPECT_EQ(GrpcListeningUri({.socket_path = "/tmp/a b"}).value(), "unix:/tmp/a%20b");
  EXPECT_THAT(GrpcListeningUri({.socket_path = "/dev/null"}).error().message,
              HasSubstr("the path exists and is no socket"));
  EXPECT_TRUE(GrpcListeningUri({.socket_path = "/" + std::string(106, 'x')}));
  EXPECT_THAT(GrpcListeningUri({.socket_path = "/" + std::string(107, 'x')}).error().message,
              HasSubstr("107 bytes"));
}

}  // namespace
}  // namespace snakepit
