#include "control/calls.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "control/call_progress.h"
#include "control/error_body.h"
#include "control/failure_text.h"

namespace ember {
namespace {

constexpr std::size_t kBodyInFileBytes = 4u << 20;
constexpr std::size_t kEvidenceLines = 10;
constexpr std::int64_t kRetryUnavailableSeconds = 5;

std::string_view little_endian(const std::uint64_t& value) {
  static_assert(std::endian::native == std::endian::little);
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// A file in memory that nobody can change any more; empty if there is no memory for it.
UniqueFd sealed_file(std::string_view bytes) {
  UniqueFd file(::memfd_create("ember-arguments", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  while (file && !bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0) return {};
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  if (file) ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  return file;
}

// Rounded up: not a moment too soon.
std::int64_t retry_after_s(const FailInput& action) {
  if (action.retry_after.us > 0) return (action.retry_after.us + 999'999) / 1'000'000;
  return action.code == ErrorCode::unavailable ? kRetryUnavailableSeconds : 0;
}

Limit limit_of(const Reason& reason) {
  if (reason.code == ReasonCode::queue_full) return {"queue_limit", reason.a};
  if (reason.code == ReasonCode::workspace_full) return {"workspace_queue_limit", reason.a};
  return {};
}

// Why the function has nothing of what its caller can take.
std::optional<Error> misfit(CallWants wants, const Function& function, std::uint8_t method) {
  const bool is_generator = gives_items(function.spec, method);
  const std::string name = function.app_name + "." + callable_name(function, method);
  if (web_of(function.spec, method)) {
    if (wants == CallWants::exchange) return std::nullopt;
    return Calls::takes_requests_alone(function, method);
  }
  if (is_generator && wants == CallWants::result) {
    return Error{ErrorCode::invalid_argument,
                 name +
                     " is a generator function: iterate over .remote_gen(...), or ask over HTTP "
                     "for application/x-ndjson or text/event-stream"};
  }
  if (!is_generator && wants == CallWants::items) {
    return Error{ErrorCode::invalid_argument,
                 name + " is no generator function and gives one result: call .remote(...)"};
  }
  return std::nullopt;
}

}  // namespace

Calls::Calls(EngineDriver& driver, AppCatalog& catalog, Containers& containers, NodeFleet& fleet,
             LogBook& logs, NodeClient& node, IdSource& ids)
    : driver_(driver),
      catalog_(catalog),
      containers_(containers),
      fleet_(fleet),
      logs_(logs),
      node_(node),
      ids_(ids) {}

Error Calls::no_such_function(std::string_view app, std::string_view function) const {
  const App* found = catalog_.find_app(app);
  if (!found || found->record.stopped) return catalog_.not_running(app);
  std::string names;
  for (const FunctionPtr& one : found->functions) {
    std::uint8_t method = 0;
    do {
      names += (names.empty() ? "" : ", ") + callable_name(*one, method);
    } while (++method < one->spec.of_class.methods.size());
  }
  return {ErrorCode::not_found, "the app " + found->name() + " has no function \"" +
                                    std::string(function.substr(0, 64)) + "\"; it has " + names};
}

Error Calls::takes_requests_alone(const Function& function, std::uint8_t method) {
  return {ErrorCode::invalid_argument,
          function.app_name + "." + callable_name(function, method) +
              " is a web endpoint: send requests to its URL, which `ember function list " +
              function.app_name + "` shows"};
}

CallFailure Calls::not_found(const CallRequest& request, const Error& error) const {
  CallFailure failure{error};
  const bool is_there = catalog_.find_callable(request.app, request.function).function != nullptr;
  if (is_there && !request.variant.empty()) failure.told_code = kUnknownVariant;
  return failure;
}

CallFailure Calls::refusal(const Function& function, const Reason& reason,
                           std::int64_t retry_after_s) const {
  FailInput action;
  action.code = ErrorCode::resource_exhausted;
  action.reason = reason;
  CallFailure failure = failure_of(action, function, 0);
  failure.retry_after_s = retry_after_s;
  return failure;
}

bool Calls::is_running(CallId id) const {
  const Call* call = table_.find(id);
  return call && call->container;
}

Result<Callable> Calls::find(const CallRequest& request) const {
  Callable callable = catalog_.find_callable(request.app, request.function);
  if (!callable.function) return no_such_function(request.app, request.function);
  const Function& deployed = **callable.function;
  if (request.variant.empty()) {
    if (!deployed.spec.of_class.needs_parameters()) return callable;
    return {ErrorCode::invalid_argument,
            "the class " + deployed.spec.name + " needs parameters: give them in Python as " +
                deployed.spec.name +
                "(name=value), on the command line by --param, or name a variant that has them"};
  }
  callable.function = catalog_.find_variant(deployed, request.variant);
  if (callable.function) return callable;
  return {ErrorCode::not_found, "the function " + deployed.spec.name + " has no variant \"" +
                                    std::string(request.variant.substr(0, 64)) +
                                    "\" in this version; register it again"};
}

StartedCall Calls::start(CallRequest request, CallWaiter* waiter, Origin origin, CallTerms terms) {
  const auto found = find(request);
  if (!found) return not_found(request, found.error());
  const FunctionPtr* function = found->function;
  if (auto unfit = misfit(request.wants, **function, found->method)) return *std::move(unfit);
  const Time now = driver_.now();
  const CallId id = terms.id ? terms.id : CallId{ids_.next(now)};
  Call& call = table_.add(id, terms.parent);
  call.function = *function;
  call.function->used = now;
  call.method = found->method;
  call.caller = request.caller;
  call.waiter = waiter;
  call.bond = terms.bond;
  call.arguments = std::move(request.arguments);
  call.arrived = terms.arrived.us != 0 ? terms.arrived : now;
  const bool awaited = terms.bond == Bond::waited_for;
  const InputArrived arrival{.input = InputId{id.value},
                             .call = id,
                             .pool = call.function->pool,
                             .caller = request.caller,
                             .origin = origin,
                             .admission = terms.admission,
                             .expires = terms.expires,
                             .priority = request.priority,
                             .parent = awaited ? InputId{terms.parent.value} : InputId{}};
  if (driver_.handling()) {
    // From inside an answer: whatever becomes of it is told through the waiter.
    driver_.handle(arrival);
    return id;
  }
  call.starting = true;
  driver_.handle(arrival);
  call.starting = false;
  if (!call.refusal) return id;
  CallFailure refusal = std::move(*call.refusal);
  table_.remove(id);
  return refusal;
}

void Calls::abandon(CallId id) {
  Call* call = table_.find(id);
  if (!call) return;
  call->waiter = nullptr;
  driver_.handle(InputCancelled{InputId{id.value}});
}

void Calls::leave(CallId id) {
  if (Call* call = table_.find(id)) call->waiter = nullptr;
}

Result<> Calls::cancel(CallId id) {
  if (table_.find(id)) {
    driver_.handle(InputCancelled{InputId{id.value}});
    return Ok{};
  }
  if (const FinishedCall* finished = table_.find_finished(id)) {
    return {ErrorCode::conflict, "the call " + id.text() + " has already ended: " +
                                     std::string(call_state_name(finished->state))};
  }
  return CallTable::no_such_call(id);
}

// A grant for half of the window is as good as one for each item, and costs less.
void Calls::accept_items(CallId id, StreamCredit gone) {
  Call* call = table_.find(id);
  if (!call) return;
  CallStream& stream = call->stream;
  EMBER_ASSERT(gone.items <= stream.open_items && gone.bytes <= stream.open_bytes);
  stream.open_items -= gone.items;
  stream.open_bytes -= gone.bytes;
  stream.owed.items += gone.items;
  stream.owed.bytes += gone.bytes;
  const bool due =
      stream.owed.items >= kStreamWindow.items / 2 || stream.owed.bytes >= kStreamWindow.bytes / 2;
  if (!due) return;
  containers_.send(call->container, {0, FrameType::credit, 0, call->attempt, id.value}, {},
                   encode_credit(std::exchange(stream.owed, {})));
}

UniqueFd Calls::attempt_file(Call& call) {
  if (!call.arguments_file && call.arguments.bytes.size() >= kBodyInFileBytes) {
    call.arguments_file = sealed_file(call.arguments.bytes);
    if (call.arguments_file) call.arguments.bytes = {};
  }
  if (!call.arguments_file) return {};
  // Opened anew, so that each attempt has an offset of its own.
  const std::string path = "/proc/self/fd/" + std::to_string(call.arguments_file.get());
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

// The call waited until the function's next version took over: it is that one's from now on.
void Calls::follow_rollout(Call& call, const FunctionPtr& next) {
  const auto& methods = call.function->spec.of_class.methods;
  if (call.method < methods.size()) {
    call.method = next->spec.of_class.find(methods[call.method].name).value_or(0);
  }
  call.function = next;
}

void Calls::dispatch(const DispatchInput& action) {
  const std::uint64_t number = action.input.value;
  Call* call = table_.find(CallId{number});
  EMBER_ASSERT(call);
  const Container* container = containers_.find(action.container);
  if (container && container->function->pool != call->function->pool) {
    follow_rollout(*call, container->function);
  }
  call->attempt = action.attempt;
  call->container = action.container;
  call->dispatched = driver_.now();
  if (action.batch.first == action.input) {
    containers_.send(action.container, {0, FrameType::batch, 0, action.attempt, number}, {},
                     encode_batch(action.batch.size));
  }
  UniqueFd file = attempt_file(*call);
  auto format = static_cast<std::uint8_t>(call->arguments.format);
  format = static_cast<std::uint8_t>(format | call->method << kFrameMethodShift);
  if (file) format |= kFrameBodyInFile;
  containers_.send(action.container, {0, FrameType::input, format, action.attempt, number},
                   little_endian(number), call->arguments.bytes, std::move(file));
}

void Calls::interrupt(const CancelInput& action) {
  containers_.send(action.container, {0, FrameType::cancel, 0, action.attempt, action.input.value},
                   {}, {});
  node_.interrupt(action.container);
  const Container* container = containers_.find(action.container);
  if (container && container->function->spec.settings.batching.is_on()) {
    withdraw_children(CallId{action.input.value}, CallState::failed);
  }
}

// Whether the call's attempt still counts, and so is its last: the engine may have taken the input
// off a container that goes on until it is killed.
bool Calls::pin(const Call& call) {
  const InputId input{call.id.value};
  driver_.handle(InputPinned{input, call.attempt, call.container});
  return driver_.engine().explain(input) == Reason{ReasonCode::running};
}

bool Calls::on_item(Container& container, const FrameHeader& header, std::string& body) {
  const CallId id{header.stream};
  Call* call = table_.find(id);
  if (!call || !call->waiter || call->attempt != header.attempt ||
      call->container != container.id) {
    return false;
  }
  CallStream& stream = call->stream;
  const bool has_credit =
      stream.open_items < kStreamWindow.items && stream.open_bytes < kStreamWindow.bytes;
  const FunctionSpec& spec = call->function->spec;
  if (!(gives_items(spec, call->method) || web_of(spec, call->method)) || !has_credit) {
    containers_.break_off(container, "its runner sent more items than it may");
    return false;
  }
  if (stream.items == 0 && !pin(*call)) return false;
  ++stream.items;
  ++stream.open_items;
  stream.open_bytes += body.size();
  call->waiter->on_item({body_format(header), std::move(body)});
  return true;
}

void Calls::on_progress(const Container& container, const FrameHeader& header,
                        const std::string& body) {
  Call* call = table_.find(CallId{header.stream});
  if (!call || call->attempt != header.attempt || call->container != container.id) return;
  auto text = progress_text(body, driver_.now());
  if (!text) return;
  call->progress = std::make_unique<const std::string>(std::move(text).value());
  if (call->waiter) call->waiter->on_progress(*call->progress);
}

void Calls::await(CallId parent, CallId call) {
  driver_.handle(InputAwaited{InputId{call.value}, InputId{parent.value}});
}

// Nobody waits any more for what a call waited for, unless it has succeeded and left that running
// on purpose. What it spawned goes on, unless somebody wanted the call to end.
void Calls::withdraw_children(CallId parent, CallState state) {
  if (state == CallState::succeeded) return;
  for (const CallId id : table_.children_of(parent)) {
    const Call* child = table_.find(id);
    if (child && (child->bond == Bond::waited_for || state == CallState::cancelled)) {
      driver_.handle(InputCancelled{InputId{id.value}});
    }
  }
}

// What the runner said is kept with the call; the engine says whether it counts.
void Calls::on_reply(Container& container, const FrameHeader& header, std::string& body) {
  const InputId input{header.stream};
  InputOutcome outcome = InputOutcome::succeeded;
  Call* call = table_.find(CallId{header.stream});
  if (call && call->attempt == header.attempt && call->container == container.id) {
    if (!call->reply) call->reply = std::make_unique<CallReply>();
    CallReply& reply = *call->reply;
    if (header.type == FrameType::error) {
      ErrorBody error = mend_error_body(body);
      outcome = error.outcome;
      reply.code = error.code;
      reply.status = error.status;
      reply.message = std::move(error.message);
    }
    reply.attempt = header.attempt;
    reply.body.format = body_format(header);
    reply.body.bytes = std::move(body);
  }
  driver_.handle(InputFinished{input, header.attempt, container.id, outcome});
}

CallReport Calls::report_of(const Call& call, const InputReport& report) const {
  CallReport result;
  result.call = call.id;
  result.container = report.container;
  result.attempt = report.attempt;
  result.is_stream = gives_items(call.function->spec, call.method);
  result.items = call.stream.items;
  result.total_us = (report.finished - report.arrived).us;
  const bool dispatched = report.dispatched.us != 0;
  result.queued_us = dispatched ? (report.dispatched - report.arrived).us : result.total_us;
  result.execute_us = dispatched ? (report.finished - report.dispatched).us : 0;
  result.cost = call.earlier_cost;
  const Container* container = containers_.find(report.container);
  if (!container) return result;
  const Tariff& tariff = *container->tariff;
  result.gpu = tariff.gpu_text();
  result.cost = call.earlier_cost + tariff.cost(report.execute_share);
  result.cold = report.cold && !container->adopted;
  if (!result.cold) return result;
  result.boot_ms = container->boot().whole_ms();
  result.load_ms = container->load().whole_ms();
  result.pays_start = !container->start_charged;
  if (result.pays_start) result.start_cost = tariff.cost(container->boot() + container->load());
  return result;
}

// A call that was cancelled is neither a success nor an error.
void Calls::count(const Call& call, CallState state, const CallReport& report) {
  FunctionStats& stats = call.function->line->stats;
  if (state == CallState::succeeded) ++stats.succeeded;
  if (state == CallState::failed) ++stats.errors;
  if (state == CallState::timed_out) ++stats.timeouts;
  if (report.attempt != 0) stats.add_invocation(Duration{report.execute_us});
  if (!report.pays_start) return;
  containers_.find(report.container)->start_charged = true;
  ++stats.cold_starts;
}

// Takes the call out of the table before its waiter hears of it: the waiter may start the next.
void Calls::end(Call& call, Ending ending, const CallReport& report, Duration execute_share) {
  const CallState state = ending.state;
  count(call, state, report);
  const Container* container = containers_.find(report.container);
  FinishedCall finished{call.id,
                        std::move(call.function),
                        state,
                        std::move(ending.error),
                        call.arrived,
                        report,
                        execute_share,
                        container ? container->tariff : nullptr,
                        {},
                        call.method,
                        call.parent,
                        std::move(call.progress),
                        ending.told_code};
  if (report.cold) finished.start = container->steps(call.arrived);
  finished.report.gpu.clear();
  if (finished.function->spec.checkpoints) ended_(finished, call.bond);
  const CallId id = call.id;
  // The code that it ran in with others goes on for them (interrupt).
  const bool outlived_by_batch = finished.function->spec.settings.batching.is_on() &&
                                 (state == CallState::cancelled || state == CallState::timed_out);
  // One that was to run whoever waits has been left to the next server, with all that it spawned.
  const bool is_left = call.bond == Bond::spawned && call.waiter == nullptr;
  table_.finish(std::move(finished));
  table_.remove(id);
  if (!is_left && !outlived_by_batch) withdraw_children(id, state);
}

void Calls::answer(const AnswerInput& action) {
  Call* call = table_.find(CallId{action.input.value});
  EMBER_ASSERT(call && call->reply && call->reply->attempt == action.report.attempt);
  const CallReport report = report_of(*call, action.report);
  CallWaiter* waiter = call->waiter;
  CallReply reply = std::move(*call->reply);
  if (action.outcome == InputOutcome::succeeded) {
    end(*call, {CallState::succeeded}, report, action.report.execute_share);
    if (waiter) waiter->on_result(std::move(reply.body), report);
    return;
  }
  end(*call, {ended_state(reply.code), Error{reply.code, reply.message}}, report,
      action.report.execute_share);
  if (!waiter) return;
  CallFailure failure{{reply.code, std::move(reply.message)}, std::move(reply.body.bytes)};
  failure.status = reply.status;
  waiter->on_failure(std::move(failure), report);
}

// Its attempt has failed, and what that cost is the call's.
void Calls::retry(const RetryInput& action) {
  Call* call = table_.find(CallId{action.input.value});
  EMBER_ASSERT(call);
  if (const Container* container = containers_.find(action.report.container)) {
    call->earlier_cost += container->tariff->cost(action.report.execute_share);
  }
  call->function->line->stats.add_invocation(action.report.finished - action.report.dispatched);
  call->reply.reset();
  call->container = {};
  withdraw_children(call->id, CallState::failed);
}

CallFailure Calls::failure_of(const FailInput& action, const Function& function,
                              std::uint64_t items) const {
  FailureEvidence evidence;
  evidence.fleet = fleet_.gpus_text();
  CallFailure failure;
  const bool start_failed = action.code == ErrorCode::start_failed;
  if (start_failed) {
    evidence.exit = function.last_start_failure.message;
    failure.body = function.last_start_failure.body;
  } else if (const Container* container = containers_.find(action.container)) {
    if (container->exited) evidence.exit = describe_exit(container->exit);
  }
  evidence.items = items;
  if (action.container) {
    evidence.log_tail = logs_.tail(function.app_name, action.container, kEvidenceLines);
  }
  failure.error = {action.code, failure_text(action, function, evidence)};
  failure.retry_after_s = retry_after_s(action);
  failure.limit = limit_of(action.reason);
  if (action.reason.code == ReasonCode::deadlocked) failure.told_code = kDeadlock;
  return failure;
}

void Calls::fail(const FailInput& action) {
  Call* call = table_.find(CallId{action.input.value});
  EMBER_ASSERT(call);
  CallFailure failure = failure_of(action, *call->function, call->stream.items);
  if (call->starting) {
    call->refusal = std::make_unique<CallFailure>(std::move(failure));
    return;
  }
  const CallReport report = report_of(*call, action.report);
  CallWaiter* waiter = call->waiter;
  end(*call, {ended_state(action.code), failure.error, failure.told_code}, report,
      action.report.execute_share);
  if (waiter) waiter->on_failure(std::move(failure), report);
}

}  // namespace ember
