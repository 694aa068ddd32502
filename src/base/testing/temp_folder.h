// TempFolder: a folder that goes away with the object.
#ifndef SNAKEPIT_BASE_TESTING_TEMP_FOLDER_H_
#define SNAKEPIT_BASE_TESTING_TEMP_FOLDER_H_

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

namespace snakepit::testing {

class TempFolder {
 public:
  // The folder is in /tmp, whose short name leaves room for the path of a socket.
  explicit TempFolder(const std::string& name = "snakepit") {
    std::string path = "/tmp/" + name + ".XXXXXX";
    if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp " + path);
    path_ = path;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_BASE_TESTING_TEMP_FOLDER_H_
