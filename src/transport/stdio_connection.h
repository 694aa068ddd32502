// The connection to a worker on stdio. PROTOCOL.md 2, 3 and 6.
#ifndef SNAKEPIT_TRANSPORT_STDIO_CONNECTION_H_
#define SNAKEPIT_TRANSPORT_STDIO_CONNECTION_H_

#include <asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "snakepit/adapter.h"
#include "src/transport/connection.h"
#include "src/transport/frame_channel.h"

namespace snakepit {

// Shakes hands over the channel and sends the first ping; `ready` runs once on the io_context's
// thread, with the connection, or with why there is none: WORKER_LOST when the worker closed the
// channel, START_TIMEOUT when the deadline passed, else START_FAILED or PROTOCOL_ERROR.
void ConnectStdio(asio::io_context& io, std::shared_ptr<FrameChannel> channel,
                  const StdioTransport& options, const std::string& worker_id, SteadyTime deadline,
                  std::function<void(Result<std::shared_ptr<Connection>>)> ready);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_CONNECTION_H_
