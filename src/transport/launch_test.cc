// What a worker is started with, and where it is found.
#include "src/transport/launch.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>

#include "src/transport/grpc_launch.h"
#include "src/transport/launch_spec.h"

namespace snakepit {
namespace {

bool Contains(const std::vector<std::string>& lines, const std::string& line) {
  return std::find(lines.begin(), lines.end(), line) != lines.end();
}

TEST(WorkerEnvironment, HasWhatIsAllowedAndNothingElse) {
  setenv("LC_TIME", "C", 1);
  setenv("SECRET_TOKEN", "hush", 1);
  const auto lines = WorkerEnvironment(Adapter{}, {{"SNAKEPIT_WORKER_ID", "worker_1"}});
  EXPECT_TRUE(Contains(lines, "LC_TIME=C"));
  EXPECT_TRUE(Contains(lines, "SNAKEPIT_WORKER_ID=worker_1"));
  EXPECT_FALSE(Contains(lines, "SECRET_TOKEN=hush"));
}

TEST(WorkerEnvironment, TheAdapterHasTheLastWord) {
  setenv("LC_TIME", "C", 1);
  Adapter adapter;
  adapter.environment = {{"LC_TIME", "fr"}, {"OWN", "a=b"}};
  const auto lines = WorkerEnvironment(adapter, {});
  EXPECT_TRUE(Contains(lines, "LC_TIME=fr"));
  EXPECT_FALSE(Contains(lines, "LC_TIME=C"));
  EXPECT_TRUE(Contains(lines, "OWN=a=b"));
}

TEST(FillIn, ReplacesEveryPlaceholder) {
  EXPECT_EQ(FillIn("--a={port} --b={port}", "{port}", "80"), "--a=80 --b=80");
  EXPECT_EQ(FillIn("{port}", "{port}", "{port}"), "{port}");
  EXPECT_EQ(FillIn("nothing", "{port}", "80"), "nothing");
}

TEST(AnnouncedAddress, KnowsTheLinesOfWorkers) {
  EXPECT_EQ(AnnouncedAddress("GRPC_READY:50051"), (GrpcAddress{.port = 50051}));
  EXPECT_EQ(AnnouncedAddress("GRPC_SERVER_READY_ON_PORT=50051"), (GrpcAddress{.port = 50051}));
  EXPECT_EQ(AnnouncedAddress("GRPC_READY:/run/w.sock"),
            (GrpcAddress{.socket_path = "/run/w.sock"}));
}

TEST(AnnouncedAddress, TakesNothingElseForOne) {
  for (const char* line : {"", "ready", "GRPC_READY:", "GRPC_READY:0", "GRPC_READY:65536",
                           "GRPC_READY:50051x", "GRPC_READY:w.sock", "x GRPC_READY:50051"}) {
    EXPECT_EQ(AnnouncedAddress(line), std::nullopt) << line;
  }
}

TEST(Launch, FillsInWhatTheArgvAsksFor) {
  asio::io_context io;
  Adapter adapter;
  adapter.argv = {"worker", "--id={worker_id}", "--socket={socket}"};
  adapter.transport = GrpcTransport{};
  auto launch = Launch::Prepare(
      adapter, {.io = &io, .worker_id = 3, .process_number = 7, .runtime_directory = "/run/pool"});
  ASSERT_TRUE(launch) << launch.error().ToString();
  EXPECT_EQ((*launch)->spec().argv,
            (std::vector<std::string>{"worker", "--id=worker_3", "--socket=/run/pool/7.sock"}));
}

TEST(Launch, TwoPortsAtOnceAreDifferent) {
  asio::io_context io;
  Adapter adapter;
  adapter.argv = {"worker", "{port}"};
  adapter.transport = GrpcTransport{};
  auto one = Launch::Prepare(adapter, {.io = &io, .runtime_directory = "/run/pool"});
  auto other = Launch::Prepare(adapter, {.io = &io, .runtime_directory = "/run/pool"});
  ASSERT_TRUE(one && other);
  EXPECT_NE((*one)->spec().argv[1], (*other)->spec().argv[1]);
}

}  // namespace
}  // namespace snakepit
