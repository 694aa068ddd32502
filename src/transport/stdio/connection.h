// The connection to a worker on stdio: many calls on one channel. PROTOCOL.md 2, 3 and 6.
#ifndef SNAKEPIT_TRANSPORT_STDIO_CONNECTION_H_
#define SNAKEPIT_TRANSPORT_STDIO_CONNECTION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "src/transport/connection.h"
#include "src/transport/stdio/link.h"

namespace snakepit {

// Makes requests of calls. StdioLink sends them and gets their replies back; how it does that is
// said there.
class StdioConnection : public Connection {
 public:
  explicit StdioConnection(std::shared_ptr<StdioLink> link) : link_(std::move(link)) {}

  const Agreement& agreement() const override { return link_->agreement(); }

  CallOutcome<Value> Call(const CallRequest& request) override;
  CallOutcome<int64_t> Stream(const CallRequest& request, const ChunkCallback& on_chunk) override;
  void CallAsync(const CallRequest& request, std::function<void(CallOutcome<Value>)> done) override;
  void StreamAsync(const CallRequest& request, ChunkCallback on_chunk,
                   std::function<void(CallOutcome<int64_t>)> done) override;

  void CheckHealth(SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) override;
  void CheckIdle(SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) override;

  void EndSession(const std::string& session_id) override;

  // EOF on its stdin. PROTOCOL.md 1.4.1.
  void AskToEnd() override { link_->channel().EndInput(); }
  void Abort() override { link_->channel().Abort(); }

 private:
  Result<void> Encode(uint64_t id, const CallRequest& request, bool stream,
                      std::string* frame) const;
  void Run(StdioThreadCall& call);
  // Ends the call at once if it cannot be sent.
  void Begin(std::shared_ptr<StdioIoCall> call);

  const std::shared_ptr<StdioLink> link_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_CONNECTION_H_
