// The role of the thread that reads the channel of a connection.
#ifndef SNAKEPIT_TRANSPORT_STDIO_READER_ROLE_H_
#define SNAKEPIT_TRANSPORT_STDIO_READER_ROLE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace snakepit {

// At any time at most one thread has the role: one that waits for its own call, or else the io
// thread. A thread that is alone therefore does its own I/O, without a hop. A reader hands the
// others what is theirs, and passes the role on when it has its own reply. A thread that has been
// handed something waits no more, even before it wakes: with the role it would keep the replies of
// the others until it is awake, only to pass the role on.
//
//   nobody    --TakeForThread-->  a thread       --PassOn-->  a thread that waits, or nobody
//             --TakeForIo------>  the io thread  --PassOn-->  likewise
//   the io thread, between two turns  --TakeForThread-->  a thread
//
// Its user has a lock, and holds it for each method.
class ReaderRole {
 public:
  // A thread that may read.
  class Thread {
   private:
    friend class ReaderRole;
    static constexpr size_t kNotWaiting = SIZE_MAX;
    size_t place_ = kNotWaiting;  // among the threads that wait
  };

  // True if the role is free for that thread, or it has it.
  bool MayTake(const Thread& me) const {
    return holder_ == Holder::kNobody || (holder_ == Holder::kIo && !in_turn_) || IsWith(me);
  }
  void TakeForThread(Thread& me) {
    holder_ = Holder::kThread;
    thread_ = &me;
  }
  bool IsWith(const Thread& me) const { return holder_ == Holder::kThread && thread_ == &me; }
  bool IsWithThread() const { return holder_ == Holder::kThread; }

  // Nobody has it: the io thread takes it.
  void TakeForIo() {
    if (holder_ == Holder::kNobody) holder_ = Holder::kIo;
  }
  bool IsWithIo() const { return holder_ == Holder::kIo; }
  // While the io thread is in a turn, nobody takes the role from it.
  void SetInTurn(bool in_turn) { in_turn_ = in_turn; }
  bool in_turn() const { return in_turn_; }

  // A thread waits to be handed its reply, or the role.
  void BeginWait(Thread& me) {
    waiting_.push_back(&me);
    me.place_ = waiting_.size() - 1;
  }
  // Has no effect on a thread that does not wait. From any thread.
  void EndWait(Thread& me) {
    if (!Waits(me)) return;
    waiting_.back()->place_ = me.place_;
    waiting_[me.place_] = waiting_.back();
    waiting_.pop_back();
    me.place_ = Thread::kNotWaiting;
  }
  static bool Waits(const Thread& thread) { return thread.place_ != Thread::kNotWaiting; }
  bool HasWaiting() const { return !waiting_.empty(); }

  // The holder reads no more. Returns the thread that has the role now, to be woken; null: nobody
  // has it.
  Thread* PassOn() {
    thread_ = waiting_.empty() ? nullptr : waiting_.back();
    holder_ = thread_ == nullptr ? Holder::kNobody : Holder::kThread;
    return thread_;
  }

 private:
  enum class Holder { kNobody, kThread, kIo };

  Holder holder_ = Holder::kNobody;
  Thread* thread_ = nullptr;  // of kThread
  bool in_turn_ = false;
  std::vector<Thread*> waiting_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_READER_ROLE_H_
