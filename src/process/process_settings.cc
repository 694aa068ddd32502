#include "src/process/process_settings.h"

#include <sys/resource.h>

#include <string>

namespace snakepit {
namespace {

struct KnownResource {
  Resource resource;
  int number;
  std::string_view name;
};

constexpr KnownResource kResources[] = {
    {Resource::kAddressSpace, RLIMIT_AS, "as"},
    {Resource::kCoreFile, RLIMIT_CORE, "core"},
    {Resource::kCpuTime, RLIMIT_CPU, "cpu"},
    {Resource::kData, RLIMIT_DATA, "data"},
    {Resource::kFileSize, RLIMIT_FSIZE, "fsize"},
    {Resource::kLockedMemory, RLIMIT_MEMLOCK, "memlock"},
    {Resource::kOpenFiles, RLIMIT_NOFILE, "nofile"},
    {Resource::kProcesses, RLIMIT_NPROC, "nproc"},
    {Resource::kStack, RLIMIT_STACK, "stack"},
};
static_assert(std::size(kResources) <= guardian_protocol::kMaxLimits);
static_assert(kUnlimited == RLIM_INFINITY);

// Null for a number outside the closed list.
const KnownResource* Find(Resource resource) {
  for (const KnownResource& known : kResources) {
    if (known.resource == resource) return &known;
  }
  return nullptr;
}

tl::unexpected<Error> Bad(std::string_view setting, std::string_view rule) {
  return Fail(ErrorCode::kInvalidArgument,
              "adapter.process." + std::string(setting) + " must be " + std::string(rule));
}

}  // namespace

Result<void> Validate(const ProcessSettings& settings) {
  if (settings.umask && *settings.umask > 0777) return Bad("umask", "0 to 0777");
  if (settings.nice && (*settings.nice < -20 || *settings.nice > 19)) {
    return Bad("nice", "-20 to 19");
  }
  for (const auto& [resource, limit] : settings.limits) {
    if (Find(resource) == nullptr) return Bad("limits", "keyed by values of Resource");
    if (limit.soft > limit.hard) {
      return Fail(ErrorCode::kInvalidArgument,
                  "the soft limit of " + std::string(ResourceName(resource)) +
                      " in adapter.process.limits is above the hard limit");
    }
  }
  for (const int cpu : settings.cpus) {
    if (cpu < 0 || cpu >= guardian_protocol::kMaxCpus) {
      return Bad("cpus", "numbers from 0 to 8191, not " + std::to_string(cpu));
    }
  }
  return {};
}

void WriteSettings(const ProcessSettings& settings, guardian_protocol::SpecHeader* header) {
  header->umask = guardian_protocol::kInherited;
  if (settings.umask) header->umask = static_cast<int32_t>(*settings.umask);
  header->nice = settings.nice.value_or(guardian_protocol::kInherited);
  header->limit_count = 0;
  for (const auto& [resource, limit] : settings.limits) {
    header->limits[header->limit_count++] = {
        .soft = limit.soft,
        .hard = limit.hard,
        .resource = static_cast<uint32_t>(ResourceNumber(resource)),
        .unused = 0};
  }
  header->sets_cpus = !settings.cpus.empty();
  for (const int cpu : settings.cpus) header->cpus[cpu / 64] |= uint64_t{1} << cpu % 64;
}

int ResourceNumber(Resource resource) { return Find(resource)->number; }

std::string_view ResourceName(Resource resource) { return Find(resource)->name; }

}  // namespace snakepit
