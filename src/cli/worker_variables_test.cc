#include "src/cli/worker_variables.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

using Strings = std::vector<std::string>;

std::string ErrorOf(const std::string& flag) {
  const auto variables = ParseWorkerVariables({flag});
  if (variables) return "was taken";
  EXPECT_EQ(variables.error().code, ErrorCode::kInvalidArgument);
  return variables.error().message;
}

TEST(WorkerVariables, ANameIsInheritedAndOneWithAValueIsSet) {
  const auto variables =
      ParseWorkerVariables({"HF_HOME", "SLURM_*", "A=1", "EMPTY=", "A=b=c", "*"});
  ASSERT_TRUE(variables) << variables.error().ToString();
  EXPECT_EQ(variables->inherit, (Strings{"HF_HOME", "SLURM_*", "*"}));
  EXPECT_EQ(variables->environment,
            (std::map<std::string, std::string>{{"A", "b=c"}, {"EMPTY", ""}}));
  EXPECT_EQ(ToFlags(*variables), (Strings{"HF_HOME", "SLURM_*", "*", "A=b=c", "EMPTY="}));
}

TEST(WorkerVariables, ReplaceThoseOfTheAdapter) {
  Adapter adapter;
  adapter.environment = {{"A", "0"}, {"B", "0"}};
  ParseWorkerVariables({"A=1", "C"})->AddTo(adapter);
  EXPECT_EQ(adapter.environment, (std::map<std::string, std::string>{{"A", "1"}, {"B", "0"}}));
  EXPECT_EQ(adapter.inherit, (Strings{"C"}));
  EXPECT_TRUE(adapter.argv.empty());
}

TEST(WorkerVariables, WrongFlagsAreRefused) {
  for (const char* flag : {"", "=1", "A*B", "**", "*=1", "A*=1"}) {
    EXPECT_TRUE(ErrorOf(flag).starts_with("--env: ")) << flag << ": " << ErrorOf(flag);
  }
  EXPECT_EQ(ErrorOf("SNAKEPIT_TOKEN"), "--env: SNAKEPIT_TOKEN is the pool's to set");
  EXPECT_EQ(ErrorOf("SNAKEPIT_TOKEN=x"), "--env: SNAKEPIT_TOKEN is the pool's to set");
}

TEST(WorkerVariables, TheHelpNamesAllInheritedVariables) {
  const std::string text = InheritedVariablesText("Environment: they have", "and no more.");
  EXPECT_TRUE(text.starts_with("Environment: they have PATH, HOME, "));
  EXPECT_TRUE(text.ends_with(" and no more."));
  for (const std::string_view name : kInheritedVariables) {
    EXPECT_NE(text.find(name), std::string::npos) << name;
  }
  EXPECT_NE(text.find("\n  "), std::string::npos);
}

}  // namespace
}  // namespace snakepit
