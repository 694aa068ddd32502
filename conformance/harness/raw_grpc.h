// A gRPC client of one's own, for what the pool does not do: to call a worker without its token.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_RAW_GRPC_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_RAW_GRPC_H_

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace snakepit::conformance {

// How one RPC ended.
struct RpcOutcome {
  std::string method;  // "Execute"
  std::string status;  // the name of the gRPC status: "OK", "UNAUTHENTICATED", …
  std::string text;    // of the status
};

// Calls each of the six methods once: the command `ping`, in a session and without, as a stream and
// not, Health and GetInfo. target: as gRPC names it, "unix:/path" or "127.0.0.1:5000". Without a
// token no metadata is sent. Each RPC ends within the limit. From any thread.
std::vector<RpcOutcome> CallEachMethod(const std::string& target,
                                       const std::optional<std::string>& token,
                                       std::chrono::milliseconds limit);

// GetInfo.supported_commands; none when GetInfo fails.
std::vector<std::string> GetSupportedCommands(const std::string& target, const std::string& token,
                                              std::chrono::milliseconds limit);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_RAW_GRPC_H_
