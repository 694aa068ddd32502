#include "src/cli/arguments.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using Strings = std::vector<std::string>;

CallArguments Call(const Strings& arguments) {
  const ParsedArguments parsed = ParseArguments(arguments);
  if (const auto* call = std::get_if<CallArguments>(&parsed)) return *call;
  const auto* print = std::get_if<PrintAndExit>(&parsed);
  ADD_FAILURE() << (print != nullptr ? print->text : "not a call");
  return {};
}

// The text printed for a usage error.
std::string UsageOf(const Strings& arguments) {
  const ParsedArguments parsed = ParseArguments(arguments);
  const auto* print = std::get_if<PrintAndExit>(&parsed);
  if (print == nullptr) {
    ADD_FAILURE() << "was taken";
    return {};
  }
  EXPECT_EQ(print->exit_code, kUsageExitCode) << print->text;
  return print->text;
}

void ExpectUsage(const Strings& arguments, const std::string& part) {
  const std::string text = UsageOf(arguments);
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

std::string ConfigFile(const std::string& name, const std::string& text) {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
  std::ofstream(path) << text;
  return path;
}

TEST(Arguments, DefaultsAreOneCallOfTheBundledWorkerOverStdio) {
  const CallArguments call = Call({"exec", "ping"});
  EXPECT_FALSE(call.stream);
  EXPECT_EQ(call.command, "ping");
  EXPECT_TRUE(call.args.is_null());
  EXPECT_EQ(call.transport, TransportKind::kStdio);
  EXPECT_EQ(call.codec, std::nullopt);
  EXPECT_TRUE(call.handshake);
  EXPECT_EQ(call.workers, 1);
  EXPECT_EQ(call.repeat, 1);
  EXPECT_EQ(call.parallel, 1);
  EXPECT_EQ(call.timeout, std::nullopt);
  EXPECT_EQ(call.start_timeout, milliseconds(20'000));
  EXPECT_TRUE(call.worker.empty());
}

TEST(Arguments, AllFlagsAreTaken) {
  const CallArguments call =
      Call({"stream",    "ticks", R"({"n": 1})", "--transport", "stdio",     "--codec=json",
            "--workers", "3",     "--session",   "alice",       "--timeout", "5s",
            "--repeat",  "10",    "--parallel",  "2",           "--verbose", "--",
            "python3",   "w.py",  "--port",      "{port}",      "--help",    "--"});
  EXPECT_TRUE(call.stream);
  EXPECT_EQ(call.args, Value(Value::Map{{"n", 1}}));
  EXPECT_EQ(call.codec, Codec::kJson);
  EXPECT_EQ(call.workers, 3);
  EXPECT_EQ(call.session, "alice");
  EXPECT_EQ(call.timeout, milliseconds(5'000));
  EXPECT_EQ(call.repeat, 10);
  EXPECT_EQ(call.parallel, 2);
  EXPECT_TRUE(call.verbose);
  EXPECT_FALSE(call.raw);
  EXPECT_TRUE(Call({"exec", "ping", "--raw"}).raw);
  EXPECT_EQ(call.worker, (Strings{"python3", "w.py", "--port", "{port}", "--help", "--"}));
}

TEST(Arguments, TheHandshakeCanBeLeftOut) {
  EXPECT_TRUE(Call({"exec", "ping", "--codec", "msgpack"}).handshake);
  const CallArguments call = Call({"exec", "ping", "--codec", "msgpack", "--no-handshake"});
  EXPECT_FALSE(call.handshake);
  EXPECT_EQ(call.codec, Codec::kMessagePack);
}

TEST(Arguments, VariablesOfTheWorkersAreTaken) {
  const CallArguments call =
      Call({"exec", "ping", "--env", "HF_HOME", "--env=A=b c", "--env", "SLURM_*", "{}"});
  EXPECT_EQ(call.variables.inherit, (Strings{"HF_HOME", "SLURM_*"}));
  EXPECT_EQ(call.variables.environment.at("A"), "b c");
  EXPECT_EQ(call.args, Value(Value::Map{}));
  const CallArguments config =
      Call({"exec", "ping", "--config", ConfigFile("env.toml", "env = [\"HF_HOME\", \"A=b\"]\n")});
  EXPECT_EQ(config.variables.inherit, (Strings{"HF_HOME"}));
  EXPECT_EQ(config.variables.environment.at("A"), "b");
}

TEST(Arguments, TheTimeoutBoundsTheStartToo) {
  EXPECT_EQ(Call({"exec", "ping", "--timeout", "3s"}).start_timeout, milliseconds(3'000));
  EXPECT_EQ(Call({"exec", "ping", "--timeout", "5m"}).start_timeout, milliseconds(20'000));
  const CallArguments both = Call({"exec", "ping", "--timeout", "100ms", "--start-timeout", "1m"});
  EXPECT_EQ(both.timeout, milliseconds(100));
  EXPECT_EQ(both.start_timeout, milliseconds(60'000));
}

TEST(Arguments, ParallelCallsGetWorkersAndRepetitions) {
  const CallArguments call = Call({"exec", "ping", "--parallel", "2"});
  EXPECT_EQ(call.repeat, 2);
  EXPECT_EQ(call.workers, 2);
  EXPECT_EQ(Call({"exec", "ping", "--parallel", "2", "--workers", "7"}).workers, 7);
  EXPECT_EQ(Call({"exec", "ping", "--parallel", "2", "--repeat", "1"}).repeat, 1);
}

TEST(Arguments, InvalidJsonIsReportedWithItsPosition) {
  ExpectUsage({"exec", "ping", R"({"a": tru})"}, "at byte 6");
  ExpectUsage({"exec", "ping", "[1]"}, "must be an object");
  ExpectUsage({"exec", "ping", "5"}, "must be an object");
}

TEST(Arguments, AWrongCommandLineIsAUsageError) {
  ExpectUsage({}, "Usage: snakepit");
  ExpectUsage({"run"}, "unknown command 'run'");
  ExpectUsage({"--verbose"}, "unknown flag '--verbose'");
  ExpectUsage({"exec"}, "COMMAND is required");
  ExpectUsage({"exec", ""}, "COMMAND");
  ExpectUsage({"exec", "ping", "--colour"}, "--colour");
  ExpectUsage({"exec", "ping", "{}", "more"}, "more");
  ExpectUsage({"exec", "ping", "--transport", "http"}, "--transport");
  ExpectUsage({"exec", "ping", "--codec", "xml"}, "--codec");
  ExpectUsage({"exec", "ping", "--codec", "json", "--transport", "grpc"}, "--codec is for stdio");
  ExpectUsage({"exec", "ping", "--no-handshake"}, "--no-handshake needs --codec");
  ExpectUsage({"exec", "ping", "--no-handshake", "--codec", "auto"},
              "--no-handshake needs --codec");
  ExpectUsage({"exec", "ping", "--no-handshake", "--transport", "grpc"}, "--no-handshake");
  ExpectUsage({"exec", "ping", "--workers", "0"}, "--workers");
  ExpectUsage({"exec", "ping", "--workers", "1001"}, "--workers");
  ExpectUsage({"exec", "ping", "--workers", "many"}, "--workers");
  ExpectUsage({"exec", "ping", "--parallel", "-1"}, "--parallel");
  ExpectUsage({"exec", "ping", "--repeat", "0"}, "--repeat");
  ExpectUsage({"exec", "ping", "--timeout", "soon"}, "--timeout: a duration");
  ExpectUsage({"exec", "ping", "--timeout", "0"}, "--timeout: a duration");
  ExpectUsage({"exec", "ping", "--start-timeout", "x"}, "--start-timeout: a duration");
  ExpectUsage({"exec", "ping", "--session", ""}, "--session");
  ExpectUsage({"exec", "ping", "--session", std::string(257, 's')}, "--session");
  ExpectUsage({"exec", "ping", "--env", "=x"}, "NAME=VALUE");
  ExpectUsage({"exec", "ping", "--env", "SNAKEPIT_TOKEN=x"}, "the pool's to set");
  ExpectUsage({"exec", "ping", "--env", "PYTHONPATH=/x"}, "the bundled one has its own");
  ExpectUsage({"exec", "ping", "--"}, "after -- comes");
  ExpectUsage({"exec", "ping", "--worker", "python3"}, "after --");
  ExpectUsage({"exec", "ping", "--workers"}, "--workers");
  ExpectUsage({"demo", "--workers", "1"}, "--workers");
  ExpectUsage({"demo", "more"}, "more");
}

TEST(Arguments, TheConfigFileGivesFlagsAndTheWorker) {
  const std::string path = ConfigFile(
      "good.toml",
      "# a comment\ntransport = \"grpc\"\nworkers = 4\ntimeout = \"10s\"\nverbose = true\n"
      "worker = [\"python3\", \"a b.py\", \"--port\", \"{port}\"]\n");
  const CallArguments call = Call({"exec", "ping", "--config", path});
  EXPECT_EQ(call.transport, TransportKind::kGrpc);
  EXPECT_EQ(call.workers, 4);
  EXPECT_EQ(call.timeout, milliseconds(10'000));
  EXPECT_TRUE(call.verbose);
  EXPECT_EQ(call.worker, (Strings{"python3", "a b.py", "--port", "{port}"}));
}

TEST(Arguments, AFlagOverridesTheConfigFile) {
  const std::string path =
      ConfigFile("two.toml", "workers = 4\nworker = [\"python3\", \"a.py\"]\n");
  const CallArguments call =
      Call({"exec", "ping", "--workers", "2", "--config", path, "--", "python3", "b.py"});
  EXPECT_EQ(call.workers, 2);
  EXPECT_EQ(call.worker, (Strings{"python3", "b.py"}));
}

TEST(Arguments, AWrongConfigFileIsAUsageError) {
  ExpectUsage({"exec", "ping", "--config", "/nowhere.toml"}, "/nowhere.toml");
  ExpectUsage({"exec", "ping", "--config", ConfigFile("unknown.toml", "wrkers = 4\n")}, "wrkers");
  ExpectUsage({"exec", "ping", "--config", ConfigFile("section.toml", "[pool]\nworkers = 4\n")},
              "pool");
  ExpectUsage({"exec", "ping", "--config", ConfigFile("value.toml", "workers = \"no\"\n")},
              "workers");
  ExpectUsage({"exec", "ping", "--config", ConfigFile("command.toml", "COMMAND = \"ping\"\n")},
              "COMMAND");
}

TEST(Arguments, HelpAndVersionExitWithZero) {
  for (const Strings& arguments :
       {Strings{"--help"}, {"-h"}, {"exec", "--help"}, {"stream", "-h"}, {"demo", "--help"}}) {
    const ParsedArguments parsed = ParseArguments(arguments);
    const auto* print = std::get_if<PrintAndExit>(&parsed);
    ASSERT_NE(print, nullptr);
    EXPECT_EQ(print->exit_code, 0);
    EXPECT_NE(print->text.find("Usage: snakepit"), std::string::npos) << print->text;
    EXPECT_NE(print->text.find("Examples:"), std::string::npos) << print->text;
  }
  const ParsedArguments version = ParseArguments({"--version"});
  ASSERT_TRUE(std::holds_alternative<PrintAndExit>(version));
  EXPECT_TRUE(std::get<PrintAndExit>(version).text.starts_with("snakepit "));
}

TEST(Arguments, TheDemoHasThreeWorkersByDefault) {
  EXPECT_EQ(std::get<DemoArguments>(ParseArguments({"demo"})).workers, 3);
  EXPECT_EQ(std::get<DemoArguments>(ParseArguments({"demo", "--workers", "2"})).workers, 2);
}

}  // namespace
}  // namespace snakepit
