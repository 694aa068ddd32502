#include "src/transport/stdio/pump.h"

#include <asio/post.hpp>
#include <utility>

namespace snakepit {

void StdioPump::RequestTurn(std::shared_ptr<User> user) {
  if (is_requested_.exchange(true)) return;
  try {
    asio::post(io_, [user = std::move(user)] { user->OnTurn(); });
  } catch (...) {
    is_requested_ = false;  // the next request may find memory
    throw;
  }
}

void StdioPump::WaitForChannel(const std::shared_ptr<User>& user) {
  if (!readable_.is_open()) readable_.assign(channel_.read_fd());
  if (!std::exchange(waits_to_read_, true)) {
    readable_.async_wait(asio::posix::descriptor_base::wait_read,
                         [this, user](const asio::error_code& error) {
                           if (error) return;  // released
                           waits_to_read_ = false;
                           user->OnTurn();
                         });
  }
  if (!channel_.has_unsent()) return;
  if (!writable_.is_open()) writable_.assign(channel_.write_fd());
  if (!std::exchange(waits_to_write_, true)) {
    writable_.async_wait(asio::posix::descriptor_base::wait_write,
                         [this, user](const asio::error_code& error) {
                           if (error) return;
                           waits_to_write_ = false;
                           user->OnTurn();
                         });
  }
}

void StdioPump::Release() {
  if (readable_.is_open()) readable_.release();
  if (writable_.is_open()) writable_.release();
  waits_to_read_ = waits_to_write_ = false;
}

void StdioPump::SetTimer(std::optional<SteadyTime> time, const std::shared_ptr<User>& user) {
  if (!time) {
    if (std::exchange(armed_, std::nullopt)) timer_.cancel();
    return;
  }
  if (armed_ == time) return;
  armed_ = time;
  timer_.expires_at(*time);
  timer_.async_wait([this, user](const asio::error_code& error) {
    if (error) return;
    armed_.reset();
    user->OnTurn();
  });
}

}  // namespace snakepit
