// Work that takes too long for the io thread.
#ifndef SNAKEPIT_TRANSPORT_APART_H_
#define SNAKEPIT_TRANSPORT_APART_H_

#include <asio/io_context.hpp>
#include <cstddef>
#include <functional>

namespace snakepit {

// A message over this, in bytes, is decoded where nobody waits meanwhile: by the thread of its
// call, or apart. Any other takes a few ms at most.
inline constexpr size_t kLargeMessage = size_t{2} << 20;

// Runs `work`, which throws nothing, on a thread of its own, and then `done` on the io thread;
// where the system gives no thread, both there. The io_context does not run out of work until then,
// and both are destroyed on the io thread. To be called on that thread.
void RunApart(asio::io_context& io, std::function<void()> work, std::function<void()> done);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_APART_H_
