// A gRPC client that can call a worker without its token, which the pool never does.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_RAW_GRPC_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_RAW_GRPC_H_

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace snakepit::conformance {

// The end of one RPC.
struct RpcOutcome {
  std::string method;  // "Execute"
  std::string status;  // the name of the gRPC status: "OK", "UNAUTHENTICATED", …
  std::string text;    // the message of the status
};

// Calls each of the six methods once: the command `ping`, in a session and without, as a stream and
// not, Health and GetInfo. `target`: "unix:/path" or "127.0.0.1:5000". Without a token no metadata
// is sent. Each RPC ends within the limit. Thread-safe.
std::vector<RpcOutcome> CallEachMethod(const std::string& target,
                                       const std::optional<std::string>& token,
                                       std::chrono::milliseconds limit);

// GetInfo.supported_commands; none if GetInfo fails.
std::vector<std::string> GetSupportedCommands(const std::string& target, const std::string& token,
                                              std::chrono::milliseconds limit);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_RAW_GRPC_H_
