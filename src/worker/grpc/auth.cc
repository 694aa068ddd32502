#include "src/worker/grpc/auth.h"

#include <iterator>

namespace snakepit {
namespace {

// Takes a time that depends on the length of the received text alone.
bool SameText(std::string_view expected, std::string_view received) {
  unsigned char difference = expected.size() != received.size();
  for (size_t i = 0; i < received.size(); ++i) {
    difference |= static_cast<unsigned char>(received[i] ^ expected[i % expected.size()]);
  }
  return difference == 0;
}

}  // namespace

bool IsAuthenticated(const grpc::CallbackServerContext& context, std::string_view token) {
  if (token.empty()) return true;
  const auto [given, end] = context.client_metadata().equal_range("snakepit-token");
  return given != end && std::next(given) == end &&
         SameText(token, std::string_view(given->second.data(), given->second.size()));
}

grpc::Status Unauthenticated() {
  return {grpc::StatusCode::UNAUTHENTICATED, "snakepit-token is missing or wrong"};
}

}  // namespace snakepit
