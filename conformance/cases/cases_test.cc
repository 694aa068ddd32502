#include "conformance/cases/cases.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

namespace snakepit::conformance {
namespace {

std::string ReadProtocol() {
  std::ifstream file(std::getenv("PROTOCOL"));
  return {std::istreambuf_iterator<char>(file), {}};
}

bool HasClause(const std::string& protocol, std::string_view clause) {
  // "- **6.3.2** …", "- **0.1 Pool**: …", or a row of a table.
  const std::string bold = "**" + std::string(clause);
  return protocol.find(bold + "**") != std::string::npos ||
         protocol.find(bold + " ") != std::string::npos;
}

TEST(CasesTest, CiteClausesThatExist) {
  const std::string protocol = ReadProtocol();
  EXPECT_FALSE(HasClause(protocol, "99.1"));
  for (const Case& subject : AllCases()) {
    EXPECT_TRUE(HasClause(protocol, subject.clause)) << subject.id << " cites " << subject.clause;
    const std::string_view other = subject.version_1_clause;
    if (other.empty()) continue;
    EXPECT_TRUE(HasClause(protocol, other)) << subject.id << " cites " << other;
    EXPECT_TRUE(subject.clause.starts_with("6.")) << subject.id << " has two clauses of version 1";
    EXPECT_FALSE(other.starts_with("6.")) << subject.id << " has two clauses of version 2";
  }
}

TEST(CasesTest, HaveIdsOfTheirOwn) {
  std::set<std::string_view> ids;
  for (const Case& subject : AllCases()) {
    EXPECT_TRUE(ids.insert(subject.id).second) << subject.id;
    EXPECT_NE(subject.id.find('/'), std::string_view::npos) << subject.id;
    EXPECT_EQ(FindCase(subject.id), &subject);
  }
  EXPECT_EQ(FindCase("no/such-case"), nullptr);
}

TEST(CasesTest, AreSelectedByPattern) {
  EXPECT_EQ(SelectCases({}).size(), AllCases().size());
  EXPECT_EQ(SelectCases({"**"}).size(), AllCases().size());
  EXPECT_EQ(SelectCases({"str/**"}).size(), StreamCases().size());
  EXPECT_EQ(SelectCases({"str/*", "ping/roundtrip"}).size(), StreamCases().size() + 1);
  EXPECT_TRUE(SelectCases({"no/such-case"}).empty());
  EXPECT_TRUE(SelectCases({"str"}).empty());
}

}  // namespace
}  // namespace snakepit::conformance
