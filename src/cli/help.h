// The texts of `snakepit --help` and of the help of its commands.
#ifndef SNAKEPIT_CLI_HELP_H_
#define SNAKEPIT_CLI_HELP_H_

#include <string>

namespace snakepit {

inline constexpr char kVersionText[] = "snakepit 0.1.0\n";

// The help of `snakepit` itself.
extern const char kMainHelp[];

// The text below the flags of `snakepit exec` and `snakepit stream`.
std::string CallHelpFooter(bool stream);

// The text below the flags of `snakepit demo`.
extern const char kDemoHelpFooter[];

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_HELP_H_
