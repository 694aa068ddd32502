// The commands of a worker, and how a call of one is carried out.
#ifndef SNAKEPIT_SRC_WORKER_REGISTRY_H_
#define SNAKEPIT_SRC_WORKER_REGISTRY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "snakepit/error.h"
#include "snakepit/value.h"
#include "snakepit/worker.h"
#include "src/worker/call_state.h"

namespace snakepit {

// A streaming command that is called for one result gives at most so many chunks.
inline constexpr size_t kMaxCollectedChunks = 10'000;

// What all transports' streams have in common: counting the chunks, and how the stream ended.
class StreamSink : public ChunkSink {
 public:
  bool Send(Value chunk) final { return Put(std::move(chunk), false); }
  void SendLast(Value chunk) final { Put(std::move(chunk), true); }

  // The chunks sent.
  int64_t count() const { return count_; }
  // Whether the last chunk was sent.
  bool ended() const { return ended_; }
  // Why no chunk can be sent any more, if so.
  const std::optional<Error>& error() const { return error_; }

 protected:
  // Waits until the chunk can be sent, and sends it. An error is how the call ends.
  virtual Result<void> Deliver(Value chunk, bool final) = 0;

 private:
  bool Put(Value chunk, bool final);

  int64_t count_ = 0;
  bool ended_ = false;
  std::optional<Error> error_;
};

// Commands are added first; then calls may come from any threads. Errors of calls are data:
// may_have_run says whether the handler was begun, and the message is UTF-8.
class Registry {
 public:
  // A later command of the same name replaces an earlier one.
  void Add(std::string name, Worker::CommandHandler handler);
  void AddStream(std::string name, Worker::StreamHandler handler);

  // Sorted.
  std::vector<std::string> Names() const;

  // Carries out a call for one result.
  Result<Value> Run(CallState& call) const;

  // Carries out a call for chunks. After a success without sink.ended(), the stream is to be ended
  // by a message without a chunk.
  Result<void> RunStream(CallState& call, StreamSink& sink) const;

 private:
  // Exactly one is set.
  struct Entry {
    Worker::CommandHandler command;
    Worker::StreamHandler stream;
  };

  Result<const Entry*> Find(const CallState& call) const;

  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WORKER_REGISTRY_H_
