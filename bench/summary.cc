#include "bench/summary.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <ostream>
#include <string_view>

#include "bench/subject.h"

namespace snakepit {
namespace {

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

struct RoundTripRow {
  std::string_view benchmark;
  std::string_view label;
  std::string_view without_pool;  // benchmark of the same worker without the pool, if any
};

constexpr RoundTripRow kRoundTripRows[] = {
    {"echo_poll", "framed echo, polling", ""},
    {"echo_block", "framed echo, blocking", ""},
    {"worker_json", "worker, no pool, JSON", ""},
    {"worker_msgpack", "worker, no pool, MessagePack", ""},
    {"json", "pool, stdio JSON", "worker_json"},
    {"msgpack", "pool, stdio MessagePack", "worker_msgpack"},
    {"grpc", "pool, gRPC", ""},
};

struct TransportRow {
  std::string_view label;
  std::string_view family;
  std::string_view counter;
  int decimals;
};

constexpr TransportRow kTransportRows[] = {
    {"start to ready, p50, ms", "start", "p50_ms", 0},
    {"first chunk, p50, us", "first_chunk", "p50_us", 0},
    {"first chunk, p99, us", "first_chunk", "p99_us", 0},
    {"worker RSS, idle, MiB", "memory", "worker_rss_idle_mib", 1},
    {"worker RSS, used, MiB", "memory", "worker_rss_used_mib", 1},
    {"worker PSS, idle, MiB", "memory", "worker_pss_idle_mib", 1},
    {"worker PSS, used, MiB", "memory", "worker_pss_used_mib", 1},
    {"pool RSS, idle, MiB", "memory", "pool_rss_idle_mib", 1},
    {"pool RSS, used, MiB", "memory", "pool_rss_used_mib", 1},
    {"pool PSS, idle, MiB", "memory", "pool_pss_idle_mib", 1},
    {"pool PSS, used, MiB", "memory", "pool_pss_used_mib", 1},
};

}  // namespace

SummaryReporter::SummaryReporter()
    : ConsoleReporter(isatty(STDOUT_FILENO) == 1 ? OO_Color : OO_None) {}

void SummaryReporter::ReportRuns(const std::vector<Run>& runs) {
  ConsoleReporter::ReportRuns(runs);
  for (const Run& run : runs) {
    if (run.error_occurred) {
      failed_ = true;
      continue;
    }
    const bool median = run.run_type == Run::RT_Aggregate && run.aggregate_name == "median";
    if (run.run_type == Run::RT_Aggregate && !median) continue;
    for (const auto& [counter, value] : run.counters) {
      Samples& samples = figures_[run.run_name.function_name][counter];
      if (median) {
        samples.median = value;
      } else {
        samples.repetitions.push_back(value);
      }
    }
  }
}

void SummaryReporter::Finalize() {
  ConsoleReporter::Finalize();
  PrintRoundTrips();
  PrintTransports();
  GetOutputStream() << std::flush;
}

std::optional<double> SummaryReporter::Figure(const std::string& benchmark,
                                              const std::string& counter) const {
  const auto counters = figures_.find(benchmark);
  if (counters == figures_.end()) return std::nullopt;
  const auto samples = counters->second.find(counter);
  if (samples == counters->second.end()) return std::nullopt;
  if (samples->second.median) return samples->second.median;
  return Median(samples->second.repetitions);
}

std::string SummaryReporter::Cell(const std::string& benchmark, const std::string& counter,
                                  int decimals) const {
  const std::optional<double> figure = Figure(benchmark, counter);
  return figure ? fmt::format("{:.{}f}", *figure, decimals) : kNoFigure;
}

std::string SummaryReporter::Ratio(const std::string& benchmark, const std::string& base,
                                   const std::string& counter) const {
  const std::optional<double> figure = Figure(benchmark, counter);
  const std::optional<double> base_figure = Figure(base, counter);
  return figure && base_figure ? fmt::format("{:.2f}", *figure / *base_figure) : kNoFigure;
}

std::string SummaryReporter::Floor(std::string_view size, const std::string& counter) const {
  const std::string poll = fmt::format("round_trip/echo_poll/{}", size);
  const std::string block = fmt::format("round_trip/echo_block/{}", size);
  const std::optional<double> poll_us = Figure(poll, counter);
  const std::optional<double> block_us = Figure(block, counter);
  return poll_us && (!block_us || *poll_us <= *block_us) ? poll : block;
}

void SummaryReporter::PrintRoundTrips() const {
  std::string table;
  const auto out = std::back_inserter(table);
  for (const PayloadSize& size : kSizes) {
    for (const RoundTripRow& row : kRoundTripRows) {
      const auto name = [&size](std::string_view benchmark) {
        return fmt::format("round_trip/{}/{}", benchmark, size.name);
      };
      const std::string benchmark = name(row.benchmark);
      if (!Figure(benchmark, "p50_us")) continue;
      const std::optional<double> rate = Figure(benchmark, "bytes_per_second");
      fmt::format_to(out, "| {:<6} | {:<28} | {:>8} | {:>8} | {:>8} | {:>9} | {:>9} | {:>13} |\n",
                     size.name, row.label, Cell(benchmark, "p50_us", 1),
                     Cell(benchmark, "p99_us", 1),
                     rate ? fmt::format("{:.1f}", *rate / (1 << 20)) : kNoFigure,
                     Ratio(benchmark, Floor(size.name, "p50_us"), "p50_us"),
                     Ratio(benchmark, Floor(size.name, "p99_us"), "p99_us"),
                     row.without_pool.empty() ? kNoFigure
                                              : Ratio(benchmark, name(row.without_pool), "p50_us"));
    }
  }
  if (table.empty()) return;
  GetOutputStream()
      << "\nRound trips of `echo`. x floor: that many times the quicker framed echo of "
         "as many bytes, p50 and p99;\nx no pool: times the same worker without the "
         "pool, p50.\n\n"
      << "| size   | by                           |   p50 us |   p99 us |    MiB/s | "
         "x floor50 | x floor99 | x no pool p50 |\n"
      << "|--------|------------------------------|---------:|---------:|---------:|"
         "----------:|----------:|--------------:|\n"
      << table;
}

void SummaryReporter::PrintTransports() const {
  std::string table;
  for (const TransportRow& row : kTransportRows) {
    std::string cells;
    bool measured = false;
    for (const Wire wire : kWires) {
      const std::string benchmark = fmt::format("{}/{}", row.family, WireName(wire));
      measured |= Figure(benchmark, std::string(row.counter)).has_value();
      cells += fmt::format(" {:>9} |", Cell(benchmark, std::string(row.counter), row.decimals));
    }
    if (measured) table += fmt::format("| {:<24} |{}\n", row.label, cells);
  }
  if (table.empty()) return;
  GetOutputStream() << "\n| by transport             |      JSON |   MsgPack |      gRPC |\n"
                    << "|--------------------------|----------:|----------:|----------:|\n"
                    << table;
}

}  // namespace snakepit
