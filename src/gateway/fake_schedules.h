// Schedules for the gateway's tests: remembers what was asked.
#pragma once

#include <string>
#include <vector>

#include "control/schedule_service.h"

namespace ember {

class FakeSchedules final : public ScheduleService {
 public:
  std::vector<std::string> asked;  // "run docs.echo"

  void list(Done done) override { done(std::string(R"({"schedules": []})")); }
  void run(std::string app, std::string function, KeyId, OnStarted done) override {
    asked.push_back("run " + app + "." + function);
    if (app != "docs") {
      return done(Error{ErrorCode::not_found, "there is no app \"" + app + "\""},
                  Acceptance::fresh);
    }
    done(CallId{0x123}, Acceptance::fresh);
  }
  void pause(std::string app, std::string function, Pausing pausing, Done done) override {
    const bool paused = pausing == Pausing::pause;
    asked.push_back((paused ? "pause " : "resume ") + app + "." + function);
    done(std::string(paused ? R"({"paused": true})" : R"({"paused": false})"));
  }
};

}  // namespace ember
