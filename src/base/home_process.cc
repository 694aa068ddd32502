#include "src/base/home_process.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

namespace snakepit {
namespace {

using Word = std::atomic<uint64_t>;
static_assert(Word::is_always_lock_free);

// A word that is 0 in every process that has not set it: the kernel wipes its page on every kind of
// fork (madvise(2), MADV_WIPEONFORK). Null if there is no such page.
Word* MapWord() {
  const long page_bytes = sysconf(_SC_PAGESIZE);
  void* const page = mmap(nullptr, static_cast<size_t>(page_bytes), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return nullptr;
  if (madvise(page, static_cast<size_t>(page_bytes), MADV_WIPEONFORK) == 0) {
    return new (page) Word(0);
  }
  munmap(page, static_cast<size_t>(page_bytes));
  return nullptr;
}

// The number of tags made by this process and its ancestors. A fork copies it.
Word last_tag = 0;

}  // namespace

HomeProcess::HomeProcess() : tag_(Tag()), pid_(getpid()) {}

uint64_t HomeProcess::Tag() {
  static Word* const word = MapWord();
  if (word == nullptr) return static_cast<uint64_t>(getpid());
  uint64_t tag = word->load(std::memory_order_relaxed);
  if (tag != 0) [[likely]] {
    return tag;
  }
  const uint64_t next = ++last_tag;
  return word->compare_exchange_strong(tag, next) ? next : tag;
}

}  // namespace snakepit
