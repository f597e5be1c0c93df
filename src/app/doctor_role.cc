#include "app/doctor_role.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "node/doctor.h"

namespace ember {
namespace {

using Json = nlohmann::json;

constexpr int kTrouble = 5;

std::string to_json(const std::vector<Finding>& findings, bool fine) {
  Json list = Json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"check", finding.check},
                    {"verdict", verdict_name(finding.verdict)},
                    {"text", finding.text},
                    {"next_step", finding.next_step}});
  }
  return Json{{"ok", fine}, {"findings", std::move(list)}}.dump(2, ' ', false,
                                                                Json::error_handler_t::replace);
}

std::string to_text(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    if (!text.empty()) text += "\n";
    text +=
        fmt::format("{:<8} {:<13} {}", verdict_name(finding.verdict), finding.check, finding.text);
    if (!finding.next_step.empty()) text += "; " + finding.next_step;
  }
  return text;
}

Result<std::vector<Finding>> examine(DoctorFlags& flags) {
  if (flags.state) {
    return examine_state(flags.database.empty() ? flags.node.data + "/serve/state.db"
                                                : flags.database);
  }
  auto options = node_options_of(flags.node);
  if (!options) return std::move(options).error();
  options->allow_process = true;
  // What the trial's node says of itself is said by the findings.
  spdlog::set_level(spdlog::level::off);
  return examine_machine(*options);
}

}  // namespace

Result<int> run_doctor_role(DoctorFlags flags) {
  auto findings = examine(flags);
  if (!findings) return std::move(findings).error();
  const bool fine = std::ranges::none_of(
      *findings, [](const Finding& finding) { return finding.verdict == Verdict::trouble; });
  fmt::print("{}\n", flags.json ? to_json(*findings, fine) : to_text(*findings));
  return fine ? 0 : kTrouble;
}

}  // namespace ember
