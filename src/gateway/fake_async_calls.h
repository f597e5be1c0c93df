// Asynchronous calls for the gateway's tests: remembers what was asked, answers what it was told
// to.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "control/async_calls.h"

namespace ember {

class FakeAsyncCalls final : public AsyncCalls {
 public:
  // --- what tests set ---
  std::optional<CallFailure> refuse;
  Acceptance acceptance = Acceptance::fresh;
  CallOutcome outcome_told;

  // --- what tests look at ---
  std::vector<AsyncRequest> spawned;
  std::vector<std::string> asked;  // "result fc-... 500 ms"

  void spawn(AsyncRequest request, OnStarted done) override {
    spawned.push_back(std::move(request));
    start(done);
  }
  void outcome(CallId call, Duration patience,
               std::function<void(Result<CallOutcome>)> done) override {
    asked.push_back("result " + call.text() + " " + std::to_string(patience.whole_ms()) + " ms");
    done(outcome_told);
  }
  void repeat(CallId call, KeyId caller, OnStarted done) override {
    asked.push_back("retry " + call.text() + " by " + caller.text());
    start(done);
  }
  void list(std::string state, std::string app, std::size_t limit, Done done) override {
    asked.push_back("list " + state + " of '" + app + "' " + std::to_string(limit));
    done(std::string(R"({"calls": []})"));
  }
  void show(CallId call, Done done) override {
    done(Error{ErrorCode::not_found, "the call " + call.text() + " is not known"});
  }
  void graph(CallId call, Done done) override {
    asked.push_back("graph " + call.text());
    done(std::string(R"({"call": {}, "calls": 1, "whole": true})"));
  }

 private:
  void start(const OnStarted& done) {
    if (refuse) return done(*refuse, Acceptance::fresh);
    done(CallId{0x123}, acceptance);
  }
};

}  // namespace ember
