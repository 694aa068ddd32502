#include "src/cli/writer.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <string_view>
#include <utility>

#include "src/base/mutex.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// PIPE_BUF: a pipe takes so many bytes at once, not mixed with those of other writers.
constexpr size_t kPieceBytes = 4096;

}  // namespace

struct Writer::State {
  explicit State(int fd) : fd(fd) {}

  bool IsAllWrittenLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return texts.empty() || error != 0;
  }

  const int fd;
  Mutex mutex;
  CondVar changed;
  // The first is the one that is being written.
  std::deque<std::string> texts ABSL_GUARDED_BY(mutex);
  size_t queued_bytes ABSL_GUARDED_BY(mutex) = 0;
  uint64_t begun ABSL_GUARDED_BY(mutex) = 0;    // texts that were ever queued
  uint64_t written ABSL_GUARDED_BY(mutex) = 0;  // the first of these, until a failure
  uint64_t pieces ABSL_GUARDED_BY(mutex) = 0;   // pieces written
  int error ABSL_GUARDED_BY(mutex) = 0;
  bool stopped_waiting ABSL_GUARDED_BY(mutex) = false;
  bool ending ABSL_GUARDED_BY(mutex) = false;
  bool idle ABSL_GUARDED_BY(mutex) = false;  // the thread waits for a text, not for a reader
};

Writer::Writer(int fd)
    : state_(std::make_shared<State>(fd)), thread_([state = state_] { Run(*state); }) {}

Writer::~Writer() {
  MutexLock lock(state_->mutex);
  state_->ending = true;
  const bool ends_soon = state_->idle && state_->IsAllWrittenLocked();
  state_->changed.notify_all();
  lock.unlock();
  if (ends_soon) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

void Writer::Run(State& state) {
  MutexLock lock(state.mutex);
  while (true) {
    state.idle = true;
    state.changed.wait(lock, [&state]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
      return !state.IsAllWrittenLocked() || state.ending;
    });
    if (state.IsAllWrittenLocked()) return;
    state.idle = false;
    // The text stays in place, since only this thread removes texts.
    const std::string_view text = state.texts.front();
    int error = 0;
    for (size_t at = 0; at < text.size() && error == 0; at += kPieceBytes) {
      lock.unlock();
      error = WriteAll(state.fd, text.substr(at, kPieceBytes));
      lock.lock();
      ++state.pieces;
      if (at + kPieceBytes < text.size()) state.changed.notify_all();
    }
    state.error = error;
    state.queued_bytes -= text.size();
    state.texts.pop_front();
    if (error == 0) ++state.written;
    state.changed.notify_all();
  }
}

int Writer::Write(std::string text, std::optional<SteadyTime> deadline) {
  State& state = *state_;
  MutexLock lock(state.mutex);
  if (state.error != 0) return state.error;
  if (state.stopped_waiting) return ECANCELED;
  if (deadline && steady_clock::now() >= *deadline) return ETIMEDOUT;
  state.queued_bytes += text.size();
  state.texts.push_back(std::move(text));
  const uint64_t number = ++state.begun;
  state.changed.notify_all();
  const auto is_over = [&state, number]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
    return state.written >= number || state.error != 0 || state.stopped_waiting;
  };
  if (!deadline) {
    state.changed.wait(lock, is_over);
  } else if (!state.changed.wait_until(lock, *deadline, is_over)) {
    return ETIMEDOUT;
  }
  if (state.written >= number) return 0;
  return state.error != 0 ? state.error : ECANCELED;
}

bool Writer::Post(std::string text) {
  State& state = *state_;
  const MutexLock lock(state.mutex);
  if (state.error != 0 || state.queued_bytes + text.size() > kMostPostedBytes) return false;
  state.queued_bytes += text.size();
  state.texts.push_back(std::move(text));
  ++state.begun;
  state.changed.notify_all();
  return true;
}

void Writer::StopWaiting() {
  const MutexLock lock(state_->mutex);
  state_->stopped_waiting = true;
  state_->changed.notify_all();
}

bool Writer::Flush(milliseconds patience, milliseconds patience_after_stop) {
  State& state = *state_;
  MutexLock lock(state.mutex);
  bool in_haste = state.stopped_waiting;
  auto end = steady_clock::now() + (in_haste ? patience_after_stop : patience);
  while (!state.IsAllWrittenLocked()) {
    const uint64_t before = state.pieces;
    const bool news =
        state.changed.wait_until(lock, end, [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
          return state.IsAllWrittenLocked() || state.pieces != before ||
                 state.stopped_waiting != in_haste;
        });
    if (!news) return false;
    if (in_haste) continue;
    in_haste = state.stopped_waiting;
    end = steady_clock::now() + (in_haste ? patience_after_stop : patience);
  }
  return true;
}

int WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {  // another process made it non-blocking
      pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
      poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

}  // namespace snakepit
