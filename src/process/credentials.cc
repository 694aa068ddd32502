#include "src/process/credentials.h"

#include <unistd.h>

#include <string_view>

namespace snakepit {
namespace {

template <typename Ids>
std::string Difference(std::string_view name, const Ids& now, const Ids& before) {
  if (now == before) return "";
  const auto text = [](const Ids& ids) {
    std::string numbers;
    for (const auto id : ids) numbers += (numbers.empty() ? "" : " ") + std::to_string(id);
    return numbers.empty() ? "none" : numbers;
  };
  return std::string(name) + " " + text(now) + ", before " + text(before);
}

}  // namespace

Credentials Credentials::Current() {
  Credentials result;
  getresuid(&result.uids[0], &result.uids[1], &result.uids[2]);
  getresgid(&result.gids[0], &result.gids[1], &result.gids[2]);
  int count = getgroups(0, nullptr);
  if (count > 0) {
    result.groups.resize(count);
    count = getgroups(count, result.groups.data());
    result.groups.resize(count > 0 ? count : 0);
  }
  return result;
}

std::string Credentials::DifferenceFrom(const Credentials& before) const {
  std::string text = Difference("user ids (real, effective, saved)", uids, before.uids);
  if (text.empty()) text = Difference("group ids (real, effective, saved)", gids, before.gids);
  if (text.empty()) text = Difference("supplementary groups", groups, before.groups);
  return text;
}

}  // namespace snakepit
