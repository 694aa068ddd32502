// The example of a worker in C++, called by a pool over each transport.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "snakepit/pool.h"

namespace snakepit {
namespace {

struct Transport {
  const char* name;
  std::vector<std::string> arguments;
  decltype(Adapter::transport) transport;
  bool version1 = false;  // it has neither streams nor codes
};

class GreeterWorkerTest : public ::testing::TestWithParam<Transport> {};

TEST_P(GreeterWorkerTest, GreetsAndCounts) {
  PoolOptions options;
  options.workers = 1;
  options.adapter.argv = {"examples/greeter_worker"};
  options.adapter.argv.insert(options.adapter.argv.end(), GetParam().arguments.begin(),
                              GetParam().arguments.end());
  options.adapter.transport = GetParam().transport;
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
  const auto greeting = pool->Execute("greet", Value::Map{{"name", "Ada"}});
  ASSERT_TRUE(greeting) << greeting.error().ToString();
  EXPECT_EQ(greeting->ToJson(), R"({"greeting":"Hello, Ada!"})");
  std::vector<Value> chunks;
  const auto count = pool->ExecuteStream("count", Value::Map{{"to", 5}}, [&](const Chunk& chunk) {
    chunks.push_back(chunk.value);
    return true;
  });
  if (GetParam().version1) {
    EXPECT_EQ(chunks, (std::vector<Value>{Value::Map{{"chunks", Value::Array{1, 2, 3, 4, 5}}}}));
  } else {
    EXPECT_EQ(chunks, (std::vector<Value>{1, 2, 3, 4, 5}));
  }
  EXPECT_EQ(count, static_cast<int64_t>(chunks.size()));
  const auto wrong = pool->Execute("greet", Value::Map{{"name", 7}});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message, "\"name\" must be a text, not 7");
  EXPECT_EQ(wrong.error().code,
            GetParam().version1 ? ErrorCode::kHandlerFailed : ErrorCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(
    Transports, GreeterWorkerTest,
    ::testing::Values(
        Transport{"Json", {}, StdioTransport{.codecs = {Codec::kJson}}},
        Transport{"Msgpack", {}, StdioTransport{}},
        // The frames of a pool of version 1.
        Transport{
            "Version1", {}, StdioTransport{.codecs = {Codec::kJson}, .negotiate = false}, true},
        Transport{"GrpcSocket", {"--transport", "grpc", "--socket", "{socket}"}, GrpcTransport{}},
        Transport{"GrpcPort", {"--transport", "grpc", "--port", "{port}"}, GrpcTransport{}},
        Transport{"GrpcAnnounced", {"--transport", "grpc"}, GrpcTransport{}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace snakepit
