// An adapter's settings for the process of a worker: their check, and their form for the guardian.
#ifndef SNAKEPIT_PROCESS_PROCESS_SETTINGS_H_
#define SNAKEPIT_PROCESS_PROCESS_SETTINGS_H_

#include <string_view>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "src/process/guardian/protocol.h"

namespace snakepit {

// INVALID_ARGUMENT if no machine could accept the settings.
Result<void> Validate(const ProcessSettings& settings);

// The settings must be valid.
void WriteSettings(const ProcessSettings& settings, guardian_protocol::SpecHeader* header);

// The resource's number for setrlimit(2).
int ResourceNumber(Resource resource);

// The resource's name in prlimit(1), such as "nofile".
std::string_view ResourceName(Resource resource);

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_PROCESS_SETTINGS_H_
