// The process that a launch starts, and the lookup of its program.
#include "src/transport/launch.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>

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

TEST(WorkerEnvironment, WhatIsFixedNoAdapterChanges) {
  setenv("LC_TIME", "C", 1);
  Adapter adapter;
  adapter.environment = {{"LC_TIME", "fr"}};
  const auto lines = WorkerEnvironment(adapter, {{"LC_TIME", "de"}}, {{"LC_TIME", "en"}});
  EXPECT_EQ(std::count_if(lines.begin(), lines.end(),
                          [](const std::string& line) { return line.starts_with("LC_TIME="); }),
            1);
  EXPECT_TRUE(Contains(lines, "LC_TIME=en"));
}

TEST(WorkerEnvironment, MoreIsInheritedWhereTheAdapterNamesIt) {
  setenv("SLURM_JOB_ID", "7", 1);
  setenv("SLURM_PROCID", "0", 1);
  setenv("HF_HOME", "/models", 1);
  setenv("HF_HOME_OLD", "/old", 1);
  Adapter adapter;
  adapter.inherit = {"SLURM_*", "HF_HOME", "NO_SUCH_VARIABLE"};
  const auto lines = WorkerEnvironment(adapter, {});
  EXPECT_TRUE(Contains(lines, "SLURM_JOB_ID=7"));
  EXPECT_TRUE(Contains(lines, "SLURM_PROCID=0"));
  EXPECT_TRUE(Contains(lines, "HF_HOME=/models"));
  EXPECT_FALSE(Contains(lines, "HF_HOME_OLD=/old"));
}

TEST(WorkerEnvironment, WhatAPoolSetsIsNeverInherited) {
  setenv("SNAKEPIT_TOKEN", "of a pool around this one", 1);
  setenv("SNAKEPIT_GUARDIAN", "of that pool", 1);
  Adapter adapter;
  adapter.inherit = {"*"};
  for (const std::string& line : WorkerEnvironment(adapter, {})) {
    EXPECT_FALSE(line.starts_with("SNAKEPIT_")) << line;
  }
  EXPECT_TRUE(Contains(WorkerEnvironment(adapter, {}), "PATH=" + std::string(getenv("PATH"))));
}

TEST(NotInherited, NamesWhatIsLeftOutAndNoValue) {
  setenv("LC_TIME", "C", 1);
  setenv("SECRET_TOKEN", "hush", 1);
  setenv("HF_HOME", "/models", 1);
  setenv("CUDA_VISIBLE_DEVICES", "1", 1);
  setenv("SNAKEPIT_TOKEN", "inherited", 1);
  Adapter adapter;
  adapter.inherit = {"HF_*"};
  adapter.environment = {{"CUDA_VISIBLE_DEVICES", "0"}};
  const auto names = NotInherited(adapter);
  EXPECT_TRUE(Contains(names, "SECRET_TOKEN"));
  for (const char* name : {"LC_TIME", "HF_HOME", "CUDA_VISIBLE_DEVICES", "SNAKEPIT_TOKEN"}) {
    EXPECT_FALSE(Contains(names, name)) << name;
  }
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

TEST(NewToken, IsLongAndNeverTheSame) {
  const std::string token = *NewToken();
  EXPECT_EQ(token.size(), 64u);
  EXPECT_EQ(token.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(token, *NewToken());
}

TEST(FillIn, ReplacesEveryPlaceholder) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(FillIn({"--a={port} --b={port}{id}", "nothing"}, {{"{port}", "80"}, {"{id}", "x"}}),
            Texts({"--a=80 --b=80x", "nothing"}));
  EXPECT_EQ(FillIn({"{port}"}, {{"{port}", "{port}"}}), Texts({"{port}"}));
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

// The tokens in the environment of the launch.
std::vector<std::string> TokensOf(const Launch& launch) {
  std::vector<std::string> tokens;
  for (const std::string& line : launch.spec().environment) {
    if (line.starts_with("SNAKEPIT_TOKEN=")) tokens.push_back(line.substr(line.find('=') + 1));
  }
  return tokens;
}

TEST(Launch, EachProcessThatServesGrpcHasATokenOfItsOwn) {
  setenv("SNAKEPIT_TOKEN", "inherited", 1);
  asio::io_context io;
  Adapter adapter;
  adapter.argv = {"worker", "{socket}", "{port}", "{worker_id}"};
  adapter.environment = {{"SNAKEPIT_TOKEN", "guessed"}};
  adapter.transport = GrpcTransport{};
  auto one = Launch::Prepare(adapter, {.io = &io, .runtime_directory = "/run/pool"});
  auto other = Launch::Prepare(adapter, {.io = &io, .runtime_directory = "/run/pool"});
  ASSERT_TRUE(one && other);
  ASSERT_EQ(TokensOf(**one).size(), 1u);
  const std::string token = TokensOf(**one).front();
  EXPECT_EQ(token.size(), 64u);
  EXPECT_NE(token, TokensOf(**other).front());
  for (const std::string& argument : (*one)->spec().argv) {
    EXPECT_EQ(argument.find(token), std::string::npos);
  }
  adapter.argv = {"worker"};
  adapter.environment.clear();
  adapter.transport = StdioTransport{};
  auto stdio = Launch::Prepare(adapter, {.io = &io});
  ASSERT_TRUE(stdio);
  EXPECT_TRUE(TokensOf(**stdio).empty());
}

TEST(Launch, WhatIsSetForTheProcessIsInTheSpecOnEitherTransport) {
  asio::io_context io;
  Adapter adapter;
  adapter.argv = {"worker", "{socket}"};
  adapter.process.nice = 3;
  adapter.working_directory = "/usr";
  for (const auto& transport : {decltype(adapter.transport)(StdioTransport{}),
                                decltype(adapter.transport)(GrpcTransport{})}) {
    adapter.transport = transport;
    auto launch = Launch::Prepare(adapter, {.io = &io, .runtime_directory = "/run/pool"});
    ASSERT_TRUE(launch);
    EXPECT_EQ((*launch)->spec().process.nice, 3);
    EXPECT_EQ((*launch)->spec().working_directory, "/usr");
  }
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
