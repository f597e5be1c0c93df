// No accepted input is lost or answered twice, and only the current attempt's result counts.
#include "queue/retry_delay.h"
#include "sim/checker.h"

namespace ember {
namespace {

class CheckAnswers : public Checker {
 public:
  void on_event(const Step& step) override {
    expected_ = {};
    const auto* finished = std::get_if<InputFinished>(&step.event);
    if (!finished) return;
    const InputFact* input = step.facts.input(finished->input);
    const bool runs = input && input->container && input->due == Time{};
    const bool current =
        runs && input->container == finished->container && input->attempt == finished->attempt;
    if (current) expected_ = finished->input;
  }

  void on_action(const Step& step, const Action& action) override {
    if (const auto* answer = std::get_if<AnswerInput>(&action)) on_answer(step, *answer);
    if (const auto* failure = std::get_if<FailInput>(&action)) on_failure(step, *failure);
    if (const auto* retry = std::get_if<RetryInput>(&action)) on_retry(step, *retry);
  }

  void after_step(const Step& step, const Engine&) override {
    if (!expected_) return;
    step.findings.add("the current attempt's result is the answer",
                      expected_.text() + " got a result and was not answered");
  }

 private:
  void on_answer(const Step& step, const AnswerInput& answer) {
    const auto* finished = std::get_if<InputFinished>(&step.event);
    if (!known(step, answer.input)) return;
    if (answer.input != expected_ || answer.outcome != finished->outcome) {
      step.findings.add("only the current attempt's result counts",
                        answer.input.text() + " is answered without one");
    }
    const InputFact& input = *step.facts.input(answer.input);
    check_report(step, input, answer.report);
    expected_ = {};
  }

  void on_failure(const Step& step, const FailInput& failure) {
    if (!known(step, failure.input)) return;
    const InputFact& input = *step.facts.input(failure.input);
    if (failure.report.arrived != input.arrived || failure.report.finished != step.now) {
      step.findings.add("reports tell the truth", failure.input.text());
    }
    if (failure.code == ErrorCode::internal || failure.reason.code == ReasonCode::none) {
      step.findings.add("a failure says why", failure.input.text());
    }
    if (failure.reason.code == ReasonCode::container_lost_pinned && !input.pinned) {
      step.findings.add("only what was handed out in part fails for it", failure.input.text());
    }
    const bool expired = failure.reason.code == ReasonCode::expired;
    if (expired && (input.attempt != 0 || step.now < input.expires)) {
      step.findings.add("only what never started expires", failure.input.text());
    }
    if (std::holds_alternative<NodeLost>(step.event) && !input.pinned) {
      step.findings.add("a lost node costs no caller the answer", failure.input.text());
    }
  }

  void on_retry(const Step& step, const RetryInput& retry) {
    if (!known(step, retry.input)) return;
    const InputFact& input = *step.facts.input(retry.input);
    const Retries& retries = step.facts.pool(input.pool)->spec.settings.retries;
    if (input.retried >= retries.max_retries) {
      step.findings.add("no input is tried more often than its function says", retry.input.text());
    }
    if (retry.due < step.now + retry_delay(retries, input.retried)) {
      step.findings.add("a retry keeps its delay", retry.input.text());
    }
    if (input.pinned) {
      step.findings.add("what was handed out in part is not tried again", retry.input.text());
    }
    const bool current = expected_ == retry.input;
    const auto* finished = std::get_if<InputFinished>(&step.event);
    if (current && finished->outcome != InputOutcome::failed) {
      step.findings.add("only failures are tried again", retry.input.text());
    }
    check_report(step, input, retry.report);
    if (current) expected_ = {};
  }

  static bool known(const Step& step, InputId id) {
    if (step.facts.input(id)) return true;
    step.findings.add("no input is answered twice", id.text() + " is answered and is not open");
    return false;
  }

  static void check_report(const Step& step, const InputFact& input, const InputReport& report) {
    const bool true_report = report.arrived == input.arrived && report.finished == step.now &&
                             report.dispatched == input.dispatched &&
                             report.container == input.container &&
                             report.attempt == input.attempt && report.execute_share.us >= 0;
    if (!true_report) step.findings.add("reports tell the truth", input.container.text());
  }

  InputId expected_;
};

}  // namespace

std::unique_ptr<Checker> check_answers() { return std::make_unique<CheckAnswers>(); }

}  // namespace ember
