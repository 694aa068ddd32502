// A call on stdio that its own thread waits for.
#ifndef SNAKEPIT_TRANSPORT_STDIO_THREAD_CALL_H_
#define SNAKEPIT_TRANSPORT_STDIO_THREAD_CALL_H_

#include <string>
#include <vector>

#include "src/base/mutex.h"
#include "src/transport/connection.h"
#include "src/transport/stdio/link.h"
#include "src/transport/stdio/reader_role.h"
#include "src/transport/stdio/receiver.h"

namespace snakepit {

// Its thread reads the channel if nobody else does, and else waits for its messages.
class StdioThreadCall : public StdioReceiver, public ReaderRole::Thread {
 public:
  // The arguments, and what they point to, must outlive this.
  StdioThreadCall(StdioLink& link, const CallRequest& request, const ChunkCallback* on_chunk)
      : StdioReceiver(link.agreement(), request, on_chunk), link_(link) {}

  // Sends the request, and returns when the call has its outcome. `frame` is then empty.
  void Run(std::string* frame);

  // Both with the lock of the link, on another thread.
  void Hand(Mail mail) override;
  void Wake() { changed_.notify_one(); }

 private:
  // The next thing that the thread does.
  enum class Step { kRead, kTake, kDone };

  Step Begin(std::string* frame);
  // Waits until there is something to do.
  Step NextStep(MutexLock& lock) ABSL_EXCLUSIVE_LOCKS_REQUIRED(link_.mutex_);
  // Reads, with the role, until the call has a message or is over.
  Step Read();
  Step TakeInbox();
  // True if the call has its outcome.
  bool TakeOne(Mail& mail);
  Step EndLate() ABSL_EXCLUSIVE_LOCKS_REQUIRED(link_.mutex_);
  void LeaveReading() ABSL_EXCLUSIVE_LOCKS_REQUIRED(link_.mutex_) {
    if (link_.role_.IsWith(*this)) link_.PassReadingOn();
  }
  // On the thread that asks for the stop.
  void OnStop();
  // The thread has something to do, and does not wait to read any more.
  void EndWait() ABSL_EXCLUSIVE_LOCKS_REQUIRED(link_.mutex_);

  StdioLink& link_;
  std::vector<Mail> taken_;  // from the inbox; only used by the thread itself
  CondVar changed_;
  // From another thread that reads.
  std::vector<Mail> inbox_ ABSL_GUARDED_BY(link_.mutex_);
  bool stop_requested_ ABSL_GUARDED_BY(link_.mutex_) = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_THREAD_CALL_H_
