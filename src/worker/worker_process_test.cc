// Workers as processes: the command line, isolation, and how they end.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "proto/snakepit.grpc.pb.h"
#include "src/base/fd.h"
#include "src/base/testing/await.h"
#include "src/base/testing/temp_folder.h"
#include "src/wire/msgpack.h"
#include "src/worker/testing/stdio_peer.h"

namespace snakepit {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kLimit;
using ::testing::Not;
using ::testing::StartsWith;
using testing::StdioPeer;
using namespace std::chrono_literals;

constexpr char kToken[] = "0123456789abcdef0123456789abcdef";

// All that there is to read until `text` has come, or the end.
std::string ReadUntil(int fd, std::string_view text) {
  std::string all;
  char buffer[4096];
  while (text.empty() || all.find(text) == std::string::npos) {
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&entry, 1, std::chrono::milliseconds(kLimit).count()) == 0) {
      ADD_FAILURE() << "the worker is silent after " << all;
      return all;
    }
    const ssize_t size = read(fd, buffer, sizeof buffer);
    if (size <= 0) return all;
    all.append(buffer, static_cast<size_t>(size));
  }
  return all;
}

class WorkerProcessTest : public ::testing::Test {
 protected:
  ~WorkerProcessTest() override {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }

  // Starts the fixture worker with these for its stdin and stdout.
  void Spawn(std::vector<std::string> arguments, std::vector<std::string> variables, int input,
             int output) {
    auto errors = OpenPipe();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, errors->second.get(), STDERR_FILENO);
    arguments.insert(arguments.begin(), "src/worker/testing/fixture_worker");
    variables.push_back("PATH=/usr/bin:/bin");
    std::vector<char*> argv, environment;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    for (std::string& variable : variables) environment.push_back(variable.data());
    argv.push_back(nullptr);
    environment.push_back(nullptr);
    ASSERT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environment.data()), 0);
    posix_spawn_file_actions_destroy(&actions);
    errors_ = std::move(errors->first);
  }

  // One socket for both directions, or two pipes.
  StdioPeer& StartStdio(std::vector<std::string> arguments = {}, bool one_socket = true,
                        std::vector<std::string> variables = {}) {
    if (one_socket) {
      auto pair = OpenSocketPair();
      Spawn(std::move(arguments), std::move(variables), pair->second.get(), pair->second.get());
      UniqueFd copy(fcntl(pair->first.get(), F_DUPFD_CLOEXEC, 3));
      peer_.emplace(std::move(pair->first), std::move(copy));
    } else {
      auto input = OpenPipe();
      auto output = OpenPipe();
      Spawn(std::move(arguments), std::move(variables), input->first.get(), output->second.get());
      peer_.emplace(std::move(input->second), std::move(output->first));
    }
    return *peer_;
  }

  void StartGrpc(std::vector<std::string> arguments, std::vector<std::string> variables = {}) {
    auto output = OpenPipe();
    const UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
    arguments.insert(arguments.begin(), {"--transport", "grpc"});
    Spawn(std::move(arguments), std::move(variables), null.get(), output->second.get());
    output_ = std::move(output->first);
  }

  std::string AnnouncedAddress() {
    const std::string lines = ReadUntil(output_.get(), "\n");
    EXPECT_THAT(lines, StartsWith("GRPC_READY:"));
    return lines.size() < 12 ? "" : lines.substr(11, lines.find('\n') - 11);
  }

  static std::unique_ptr<SnakepitBridge::Stub> Connect(const std::string& target) {
    return SnakepitBridge::NewStub(grpc::CreateChannel(target, grpc::InsecureChannelCredentials()));
  }

  static grpc::Status Execute(SnakepitBridge::Stub& stub, const std::string& command,
                              const Value& args, ExecuteResponse* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kLimit);
    context.AddMetadata("snakepit-token", kToken);
    ExecuteRequest request;
    request.set_command(command);
    EXPECT_TRUE(EncodeMsgpack(args, request.mutable_typed_args()));
    return stub.Execute(&context, request, response);
  }

  // Returns the exit status, or 128 and the signal; -1 when the worker does not end.
  int Wait() {
    int status = 0;
    // Read on, so that it cannot block on stderr.
    stderr_ += ReadUntil(errors_.get(), "");
    if (!testing::Await([&] { return waitpid(pid_, &status, WNOHANG) != 0; }, kLimit)) return -1;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  const testing::TempFolder temp_;
  const std::string folder_ = temp_.path();
  pid_t pid_ = -1;
  UniqueFd errors_;
  UniqueFd output_;
  std::string stderr_;
  std::optional<StdioPeer> peer_;
};

TEST_F(WorkerProcessTest, PrintsGoToStderrAndChildrenGetNothing) {
  for (const bool one_socket : {true, false}) {
    StdioPeer& peer = StartStdio({}, one_socket, {std::string("SNAKEPIT_TOKEN=") + kToken});
    peer.Negotiate(Codec::kJson);
    EXPECT_EQ(peer.Call("print").value, Value("printed"));
    // The second request is there when the child runs: it must not be read by it. 0, 1, 2 and the
    // one with which ls reads the folder; and a count of tokens.
    peer.Send("child");
    const uint64_t second = peer.Send("ping");
    EXPECT_EQ(peer.Receive()->value, Value("0 1 2 3 0\n"));
    EXPECT_EQ(peer.Receive()->id, static_cast<int64_t>(second));
    std::ifstream environment("/proc/" + std::to_string(pid_) + "/environ");
    EXPECT_THAT(std::string(std::istreambuf_iterator<char>(environment), {}),
                Not(HasSubstr(kToken)));
    peer.CloseInput();
    EXPECT_EQ(peer.Receive(), std::nullopt);
    EXPECT_EQ(Wait(), 0);
    for (const char* text :
         {"printed before Main", "hello from a handler", "and from std::cout", "and past both"}) {
      EXPECT_THAT(stderr_, HasSubstr(text));
    }
  }
}

TEST_F(WorkerProcessTest, AForkedChildDoesNotHoldTheConnectionOpen) {
  StdioPeer& peer = StartStdio();
  peer.Negotiate(Codec::kJson);
  const Result<int64_t> child = peer.Call("fork_and_stay").value.Get<int64_t>();
  ASSERT_TRUE(child) << child.error().ToString();
  kill(pid_, SIGKILL);
  EXPECT_EQ(peer.Receive(), std::nullopt);
  kill(static_cast<pid_t>(*child), SIGKILL);
}

TEST_F(WorkerProcessTest, ABusyWorkerAnswersAfterTheEndOfItsInput) {
  for (const bool one_socket : {true, false}) {
    StdioPeer& peer = StartStdio({"--capacity", "2"}, one_socket);
    peer.Negotiate(Codec::kMessagePack);
    peer.Send("conf.sleep", Value::Map{{"ms", 30}});
    peer.CloseInput();
    EXPECT_EQ(peer.Receive()->kind, Reply::Kind::kResult);
    EXPECT_EQ(peer.Receive(), std::nullopt);
    EXPECT_EQ(Wait(), 0);
  }
}

TEST_F(WorkerProcessTest, SigtermEndsAnIdleWorkerAndABusyOneAfterItsCall) {
  for (const int version : {1, 2}) {
    StdioPeer& idle = StartStdio();
    if (version == 2) idle.Negotiate(Codec::kJson);
    idle.Call("ping");
    kill(pid_, SIGINT);  // is ignored
    EXPECT_EQ(idle.Call("ping").value.TextAt("status"), "ok");
    kill(pid_, SIGTERM);
    EXPECT_EQ(Wait(), 0);

    StdioPeer& busy = StartStdio();
    if (version == 2) busy.Negotiate(Codec::kJson);
    busy.Send("announce", Value::Map{{"ms", 50}});
    EXPECT_THAT(ReadUntil(errors_.get(), "begun"), HasSubstr("begun"));
    kill(pid_, SIGTERM);
    EXPECT_EQ(busy.Receive()->value, Value(true));
    EXPECT_EQ(busy.Receive(), std::nullopt);
    EXPECT_EQ(Wait(), 0);
  }
}

TEST_F(WorkerProcessTest, SigtermEndsAWorkerWhoseHandlerDoesNot) {
  for (const char* transport : {"v1", "v2", "grpc"}) {
    std::thread caller;
    if (transport == std::string("grpc")) {
      StartGrpc({});
      auto stub = std::shared_ptr(Connect("127.0.0.1:" + AnnouncedAddress()));
      caller = std::thread([stub] {
        ExecuteResponse response;
        Execute(*stub, "announce", Value::Map{{"ms", 60'000}, {"deaf", true}}, &response);
      });
    } else {
      StdioPeer& peer = StartStdio();
      if (transport == std::string("v2")) peer.Negotiate(Codec::kJson);
      peer.Send("announce", Value::Map{{"ms", 60'000}, {"deaf", true}});
    }
    ReadUntil(errors_.get(), "begun");
    const auto began = std::chrono::steady_clock::now();
    kill(pid_, SIGTERM);
    EXPECT_EQ(Wait(), 0) << transport;
    EXPECT_GT(std::chrono::steady_clock::now() - began, 1s) << transport;
    if (caller.joinable()) caller.join();
  }
}

// The thread that began the worker runs the handler, and another sees the fault.
TEST_F(WorkerProcessTest, AFaultEndsAWorkerWhoseHandlerDoesNot) {
  StdioPeer& peer = StartStdio();
  peer.Negotiate(Codec::kJson);
  peer.Send("announce", Value::Map{{"ms", 60'000}, {"deaf", true}});
  ReadUntil(errors_.get(), "begun");
  peer.SendBytes("\xff\xff\xff\xff");  // a length over the limit; the input stays open
  EXPECT_EQ(Wait(), 1);
}

TEST_F(WorkerProcessTest, SigtermEndsAWorkerWhoseHandlerHoldsAFile) {
  StartGrpc({});
  auto stub = Connect("127.0.0.1:" + AnnouncedAddress());
  std::thread caller([&stub] {
    ExecuteResponse response;
    Execute(*stub, "hold_file", Value::Map{}, &response);
  });
  ReadUntil(errors_.get(), "begun");
  kill(pid_, SIGTERM);
  EXPECT_EQ(Wait(), 0);
  caller.join();
}

TEST_F(WorkerProcessTest, TheCommandLineIsChecked) {
  struct Case {
    std::vector<std::string> arguments;
    std::vector<std::string> variables;
    int status;
    const char* text;
  };
  for (const Case& c : std::vector<Case>{
           {{"--nonsense"}, {}, 2, "--nonsense"},
           {{"--transport", "pigeon"}, {}, 2, "pigeon"},
           {{"--socket", "/tmp/x"}, {}, 2, "need --transport grpc"},
           {{"--port", "1"}, {}, 2, "need --transport grpc"},
           {{"--transport", "grpc", "--port", "1", "--socket", "/x"}, {}, 2, "excludes"},
           {{"--transport", "grpc", "--port", "65536"}, {}, 2, "--port"},
           {{"--transport", "grpc", "--socket", ""}, {}, 2, "empty"},
           {{"--transport", "grpc", "--socket", "/dev/null"},
            {},
            1,
            "the path exists and is no socket"},
           {{"--mode", "x"}, {}, 2, "--mode"},
           {{"--capacity", "0"},
            {},
            2,
            "fixture: capacity must be an integer from 1 to 65536, not 0\n"},
           {{"--capacity", "65537"}, {}, 2, "from 1 to 65536, not 65537\n"},
           {{"--capacity", "65536"}, {}, 0, ""},
           {{}, {"SNAKEPIT_MAX_FRAME_BYTES=1023"}, 2, "SNAKEPIT_MAX_FRAME_BYTES"},
           {{}, {"SNAKEPIT_MAX_FRAME_BYTES=4096x"}, 2, "SNAKEPIT_MAX_FRAME_BYTES"},
           {{"--mode", "pool-worker"}, {"SNAKEPIT_MAX_FRAME_BYTES=4096"}, 0, ""}}) {
    StdioPeer& peer = StartStdio(c.arguments, false, c.variables);
    peer.CloseInput();
    EXPECT_EQ(Wait(), c.status) << c.text;
    EXPECT_THAT(stderr_, HasSubstr(c.text));
    stderr_.clear();
  }
}

TEST_F(WorkerProcessTest, AHandlerMaySayThatTheWorkerTakesNoCalls) {
  const Value args = Value::Map{{"healthy", false}};
  StdioPeer& peer = StartStdio();
  peer.Negotiate(Codec::kJson);
  EXPECT_EQ(peer.Call("set_healthy", args).kind, Reply::Kind::kResult);
  peer.AskHealth();
  EXPECT_EQ(peer.Receive()->value.Get<bool>("healthy"), false);
  peer.CloseInput();
  EXPECT_EQ(Wait(), 0);
  const std::string path = folder_ + "/worker.sock";
  StartGrpc({"--socket", path});
  EXPECT_EQ(AnnouncedAddress(), path);
  auto stub = Connect("unix:" + path);
  ExecuteResponse response;
  ASSERT_TRUE(Execute(*stub, "set_healthy", args, &response).ok());
  grpc::ClientContext context;
  HealthResponse health;
  health.set_healthy(true);
  ASSERT_TRUE(stub->Health(&context, {}, &health).ok());
  EXPECT_FALSE(health.healthy());
  kill(pid_, SIGTERM);
  EXPECT_EQ(Wait(), 0);
}

TEST_F(WorkerProcessTest, VersionAndHelpArePrinted) {
  for (const auto& [option, text] :
       {std::pair{"--version", "fixture 0.1.0\n"}, std::pair{"--help", "--transport"}}) {
    auto output = OpenPipe();
    const UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
    Spawn({option}, {}, null.get(), output->second.get());
    output->second.Reset();
    EXPECT_THAT(ReadUntil(output->first.get(), ""), HasSubstr(text));
    EXPECT_EQ(Wait(), 0);
  }
}

TEST_F(WorkerProcessTest, GrpcOnAPortIsAnnouncedAndWrittenIntoTheReadyFile) {
  const std::string ready_file = folder_ + "/ready";
  StartGrpc({"--port", "0"}, {"SNAKEPIT_READY_FILE=" + ready_file, "SNAKEPIT_WORKER_ID=w7"});
  const std::string port = AnnouncedAddress();
  EXPECT_EQ(ReadFile(ready_file).value(), port);
  auto stub = Connect("127.0.0.1:" + port);
  ExecuteResponse response;
  ASSERT_TRUE(Execute(*stub, "context", Value::Map{}, &response).ok());
  EXPECT_EQ(DecodeMsgpack(response.typed_result())->TextAt("worker_id"), "w7");
  ASSERT_TRUE(Execute(*stub, "print", Value::Map{}, &response).ok());
  // The first cannot be shared.
  const pid_t first = std::exchange(pid_, -1);
  UniqueFd first_output = std::move(output_), first_errors = std::move(errors_);
  StartGrpc({"--port", port});
  EXPECT_EQ(Wait(), 1);
  EXPECT_THAT(stderr_, HasSubstr("cannot listen on 127.0.0.1:" + port));
  pid_ = first;
  errors_ = std::move(first_errors);
  kill(pid_, SIGINT);
  ASSERT_TRUE(Execute(*stub, "ping", Value::Map{}, &response).ok());
  kill(pid_, SIGTERM);
  EXPECT_EQ(Wait(), 0);
  EXPECT_THAT(stderr_, HasSubstr("hello from a handler"));
  EXPECT_THAT(ReadUntil(first_output.get(), ""), IsEmpty());
}

TEST_F(WorkerProcessTest, GrpcOnASocketWithATokenAndSigterm) {
  const std::string path = folder_ + "/worker.sock";
  StartGrpc({"--socket", path}, {std::string("SNAKEPIT_TOKEN=") + kToken});
  EXPECT_EQ(AnnouncedAddress(), path);
  auto stub = Connect("unix:" + path);
  ExecuteResponse response;
  ASSERT_TRUE(Execute(*stub, "child", Value::Map{}, &response).ok());
  EXPECT_THAT(response.typed_result(), HasSubstr("0 1 2 3 0\n"));
  grpc::ClientContext context;
  HealthResponse health;
  EXPECT_EQ(stub->Health(&context, {}, &health).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  kill(pid_, SIGTERM);
  EXPECT_EQ(Wait(), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_THAT(stderr_, Not(HasSubstr(kToken)));
}

}  // namespace
}  // namespace snakepit
