// The launch of a worker on stdio. PROTOCOL.md 1 and 2.
#ifndef SNAKEPIT_TRANSPORT_STDIO_LAUNCH_H_
#define SNAKEPIT_TRANSPORT_STDIO_LAUNCH_H_

#include <memory>

#include "src/transport/launch.h"

namespace snakepit {

Result<std::unique_ptr<Launch>> PrepareStdioLaunch(const Adapter& adapter,
                                                   const StdioTransport& options,
                                                   LaunchContext context);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_LAUNCH_H_
