// What an adapter sets for the process of a worker: checked, and as the guardian takes it.
#ifndef SNAKEPIT_SRC_PROCESS_PROCESS_SETTINGS_H_
#define SNAKEPIT_SRC_PROCESS_PROCESS_SETTINGS_H_

#include <string_view>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "src/process/guardian_protocol.h"

namespace snakepit {

// INVALID_ARGUMENT when the settings cannot be right on any machine.
Result<void> Validate(const ProcessSettings& settings);

// Of valid settings.
void WriteSettings(const ProcessSettings& settings, guardian_protocol::SpecHeader* header);

// The resource as setrlimit(2) numbers it.
int ResourceNumber(Resource resource);

// The resource's name in prlimit(1), such as "nofile".
std::string_view ResourceName(Resource resource);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_PROCESS_SETTINGS_H_
