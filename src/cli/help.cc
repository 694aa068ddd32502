#include "src/cli/help.h"

#include "src/cli/worker_variables.h"

namespace snakepit {
namespace {

constexpr char kExecExamples[] = R"(Examples:
  snakepit exec ping
  snakepit exec compute '{"operation": "add", "a": 2, "b": 3}'
  snakepit exec echo '{"n": 1}' --repeat 1000 --parallel 4 --workers 4
  snakepit exec ping -- python3 my_worker.py
  snakepit exec ping --transport grpc -- python3 grpc_bridge.py --port {port}
  snakepit exec generate --env HF_HOME --env CUDA_VISIBLE_DEVICES=1 -- python3 my_worker.py
)";

constexpr char kStreamExamples[] = R"(Examples:
  snakepit stream ping_stream '{"count": 3, "interval": 0.5}'
  snakepit stream process_large_dataset '{"path": "/data/sales.csv"}' --transport grpc
  snakepit stream batch_inference --session alice
  snakepit stream ticks -- python3 my_worker.py
)";

constexpr char kCallNotes[] = R"(
Worker: its command line follows --, and is run verbatim and without a shell. {port} in it becomes
  a free TCP port, {socket} the path of a Unix socket, {worker_id} the worker's name, {instance} a
  name that no other worker process has. A gRPC worker with neither {port} nor {socket} announces
  its own address. Without -- the bundled worker runs.

)";

constexpr char kMoreCallNotes[] = R"(

Output: one line of JSON for each result or chunk on stdout; errors, the workers' stderr and all
  else on stderr. Control characters, and others that change how text looks, are escaped (\x1b,
  \u202e). JSON is escaped by its own rules, so its value stays equal. --raw escapes nothing.
  Exit code: 0 success, 1 a call or the start of a worker failed, 2 usage, 130 interrupted by
  Ctrl-C, 141 nobody reads stdout any more.

Config file: TOML, with the names of the flags as keys. Flags override the file.
  transport = "grpc"
  workers = 4
  timeout = "10s"
  worker = ["python3", "grpc_bridge.py", "--port", "{port}"]
)";

}  // namespace

const char kMainHelp[] =
    R"(Runs commands on a pool of worker processes, in any language, over stdio or gRPC.

Usage: snakepit COMMAND ...

Commands:
  exec      run a command of a worker and print its result
  stream    run a command that answers in chunks, and print each as it arrives
  demo      watch a pool at work, over stdio and over gRPC side by side

Flags:
  -h,--help     print this, or the help of a command: snakepit exec --help
  --version     print the version

Examples:
  snakepit demo
  snakepit exec ping
  snakepit stream ping_stream '{"count": 3, "interval": 0.5}' --transport grpc
  snakepit exec ping -- python3 my_worker.py
)";

const char kDemoHelpFooter[] =
    R"(The demo takes about ten seconds. Exit code: 0 everything held, 1 a step did not.
Colours are used on a terminal only, and not if NO_COLOR is set.

Examples:
  snakepit demo
  snakepit demo --workers 4
)";

std::string CallHelpFooter(bool stream) {
  return std::string(stream ? kStreamExamples : kExecExamples) + kCallNotes +
         InheritedVariablesText("Environment: a worker inherits these variables of yours, if set:",
                                "and those of --env. --verbose names the others.") +
         kMoreCallNotes;
}

}  // namespace snakepit
