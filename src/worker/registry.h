// The commands of a worker, and how a call of one is carried out.
#ifndef SNAKEPIT_WORKER_REGISTRY_H_
#define SNAKEPIT_WORKER_REGISTRY_H_

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

// Most chunks of a streaming command that is called for one result.
inline constexpr size_t kMaxCollectedChunks = 10'000;

// Counts the chunks of a stream and keeps how it ended, for all transports.
class StreamSink : public ChunkSink {
 public:
  bool Send(Value chunk) final { return Put(std::move(chunk), false); }
  void SendLast(Value chunk) final { Put(std::move(chunk), true); }

  // Number of chunks sent.
  int64_t count() const { return count_; }
  // True once the last chunk was sent.
  bool ended() const { return ended_; }
  // The reason why no more chunks can be sent, if there is one.
  const std::optional<Error>& error() const { return error_; }

 protected:
  // Waits until the chunk can be sent, and sends it. The call ends with its error, if any.
  virtual Result<void> Deliver(Value chunk, bool final) = 0;

 private:
  bool Put(Value chunk, bool final);

  int64_t count_ = 0;
  bool ended_ = false;
  std::optional<Error> error_;
};

// Add commands first; then calls may come from any thread. Errors of calls are data: may_have_run
// says whether the handler was begun, and the message is UTF-8.
class Registry {
 public:
  // A later command of the same name replaces an earlier one.
  void Add(std::string name, Worker::CommandHandler handler);
  void AddStream(std::string name, Worker::StreamHandler handler);

  // The names of all commands, sorted.
  std::vector<std::string> Names() const;

  // Carries out a call for one result.
  Result<Value> Run(CallState& call) const;

  // Carries out a call for chunks. After a success without sink.ended(), the caller ends the stream
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

#endif  // SNAKEPIT_WORKER_REGISTRY_H_
