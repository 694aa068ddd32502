// The pool's end of a worker's stdio, for tests.
#ifndef SNAKEPIT_WORKER_TESTING_STDIO_PEER_H_
#define SNAKEPIT_WORKER_TESTING_STDIO_PEER_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "snakepit/adapter.h"
#include "snakepit/value.h"
#include "src/base/fd.h"
#include "src/wire/frame.h"
#include "src/wire/pool_side/handshake.h"
#include "src/wire/pool_side/message.h"

namespace snakepit::testing {

// Tests wait for milliseconds; after this time they fail.
inline constexpr std::chrono::seconds kLimit{20};

// Speaks version 1 in JSON until it has negotiated. For one thread only.
class StdioPeer {
 public:
  StdioPeer(UniqueFd to_worker, UniqueFd from_worker);

  // Agrees on version 2. Fails the test when the worker refuses.
  Agreement Negotiate(Codec codec, size_t max_frame_bytes = 64u << 20);

  // Speaks that codec and version from here on, as if agreed.
  void Assume(Codec codec, int version);

  // Options of a call, as for EncodeRequestFrame. Id 0 stands for the next id.
  struct Options {
    uint64_t id = 0;
    bool stream = false;
    int64_t credit = 0;
    std::string_view session_id;
    int64_t timeout_ms = 0;
  };
  // Returns the id.
  uint64_t Send(std::string_view command, const Value& args, const Options& options);
  uint64_t Send(std::string_view command, const Value& args = Value::Map{}) {
    return Send(command, args, Options());
  }
  void Cancel(uint64_t id);
  void Grant(uint64_t id, int64_t bytes);
  void EndSession(std::string_view session_id);
  uint64_t AskHealth();
  // Sends a frame with that payload.
  void SendPayload(std::string_view payload);
  void SendBytes(std::string_view bytes);
  void CloseInput();
  // Reads nothing from the worker any more.
  void CloseOutput() { from_worker_.Reset(); }

  // Return the next frame; nothing at the end of the stream. Fail the test after kLimit.
  std::optional<std::string> ReceivePayload();
  std::optional<Reply> Receive();
  // Size of the frame received last.
  size_t last_payload_bytes() const { return last_payload_bytes_; }
  // True if there is nothing to receive now.
  bool IsQuiet();

  // Makes a call and returns the reply.
  Reply Call(std::string_view command, const Value& args, const Options& options);
  Reply Call(std::string_view command, const Value& args = Value::Map{}) {
    return Call(command, args, Options());
  }

 private:
  UniqueFd to_worker_;
  UniqueFd from_worker_;
  Codec codec_ = Codec::kJson;
  int version_ = 1;
  uint64_t next_id_ = 1;
  size_t last_payload_bytes_ = 0;
  FrameReader reader_{UINT32_MAX};
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_WORKER_TESTING_STDIO_PEER_H_
