// Runs a fuzz target on every file of the folder that is the only argument. Fails if there is none,
// since a test of nothing proves nothing.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
    return 2;
  }
  int files = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[1], error)) {
    if (!entry.is_regular_file()) continue;
    std::printf("%s\n", entry.path().c_str());
    std::fflush(stdout);  // A failed check ends the process, and the last line names the file.
    std::ifstream stream(entry.path(), std::ios::binary);
    // The vector has exactly this size, so that the address sanitizer sees a read beyond it.
    const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
    if (!stream && !stream.eof()) {
      std::fprintf(stderr, "cannot read %s\n", entry.path().c_str());
      return 1;
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    ++files;
  }
  if (error || files == 0) {
    std::fprintf(stderr, "no corpus in %s %s\n", argv[1], error.message().c_str());
    return 1;
  }
  std::printf("%d inputs\n", files);
  return 0;
}
