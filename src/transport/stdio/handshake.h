// From a channel to the connection of a worker that is ready. PROTOCOL.md 2.5 and 3.
#ifndef SNAKEPIT_TRANSPORT_STDIO_HANDSHAKE_H_
#define SNAKEPIT_TRANSPORT_STDIO_HANDSHAKE_H_

#include <asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "snakepit/adapter.h"
#include "src/transport/connection.h"
#include "src/transport/stdio/frame_channel.h"

namespace snakepit {

// Sends the offer, unless the codec is fixed, and then the first ping. `ready` runs once, on the
// io thread, with the connection or with the reason why there is none: WORKER_LOST when
// the worker closed the channel, START_TIMEOUT when the deadline passed, else START_FAILED,
// PROTOCOL_ERROR or INTERNAL. `max_decoded_bytes` is the limit of memory for the values in a
// message, and `cancel_grace` the time that the worker may go on with a call that was given up. To
// be called on the io thread.
void ConnectStdio(asio::io_context& io, std::shared_ptr<FrameChannel> channel,
                  const StdioTransport& options, size_t max_decoded_bytes,
                  const std::string& worker_id, std::chrono::milliseconds cancel_grace,
                  SteadyTime deadline,
                  std::function<void(Result<std::shared_ptr<Connection>>)> ready);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_HANDSHAKE_H_
