#include "control/map_sessions.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <deque>
#include <string>
#include <utility>

#include "control/error_body.h"
#include "control/json.h"
#include "control/map_records.h"

namespace ember {
namespace {

constexpr std::size_t kMaxTextBytes = 4u << 10;
constexpr std::size_t kMostInputBytes = 64u << 20;   // as of one request
constexpr std::size_t kMostUnsentBytes = 64u << 20;  // of results; inputs are held up beyond it
constexpr std::size_t kPieceBytes = 128u << 10;
constexpr std::size_t kInputsOfSlot = 4;
constexpr Duration kLook = Duration::milliseconds(200);

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

Error too_many(std::size_t most, const char* of) {
  return {ErrorCode::resource_exhausted,
          std::to_string(most) + " maps of " + of + " run already; try again when one has ended"};
}

bool is_known(std::uint8_t format) {
  return format <= static_cast<std::uint8_t>(BodyFormat::bytes);
}

}  // namespace

class MapSessions::Session final : public MessageSession {
 public:
  Session(MapSessions& all, const MapRequest& request, const Function& mapped,
          MessageClient& client)
      : all_(all),
        app_(request.app),
        function_(request.function),
        caller_(request.caller),
        client_(client),
        variant_(request.variant),
        variant_of_(mapped.spec.name),
        difference_(mapped.variant ? R"({"parameters": )" + mapped.class_arguments +
                                         R"(, "options": )" + mapped.options + "}"
                                   : "") {
    ++all_.sessions_;
    ++all_.of_caller_[caller_];
    // Not in here: the answer to the upgrade goes first.
    boost::asio::post(all_.parts_.loop, [this, alive = alive()] {
      if (!alive.expired()) look();
    });
  }

  ~Session() override {
    withdraw();
    --all_.sessions_;
    if (--all_.of_caller_[caller_] == 0) all_.of_caller_.erase(caller_);
  }

  void on_text(std::string_view text) override {
    if (finished_) return;
    auto document = parse_json(text, "the message", kMaxTextBytes);
    if (!document) return fail(document.error());
    if (auto done = control(*document); !done) fail(done.error());
  }

  void on_bytes(std::string_view bytes) override {
    while (!bytes.empty() && !finished_) {
      if (auto read = read_some(bytes); !read) return fail(read.error());
    }
    if (!finished_) start_held();
  }

 private:
  // One input that has not been answered.
  class Input final : public CallWaiter {
   public:
    Input(Session& session, std::uint64_t number, Body given)
        : arguments(std::move(given)),
          size_bytes(arguments.bytes.size()),
          session_(session),
          number_(number) {}

    void on_result(Body value, const CallReport& report) override {
      session_.answered(number_, static_cast<std::uint8_t>(value.format), value.bytes, report);
    }
    void on_failure(CallFailure failure, const CallReport& report) override {
      constexpr auto kind = static_cast<std::uint8_t>(BodyFormat::json) | kMapFailed;
      ++session_.failed_;
      session_.answered(number_, kind, to_error_body(failure), report);
    }

    Body arguments;  // until its call has started
    CallId call;     // zero: it has not
    const std::size_t size_bytes;

   private:
    Session& session_;
    const std::uint64_t number_;
  };

  // --- what the client says ---

  Result<> control(const JsonValue& document) {
    Fields fields(document, "");
    const std::int64_t taken = fields.integer_or("taken", 0);
    const bool over = fields.flag_or("end_of_input", false);
    if (auto read = fields.finish(); !read) return read;
    if (taken < 0 || static_cast<std::uint64_t>(taken) > kMapResultBytes - allowed_) {
      return invalid("taken says more than was sent");
    }
    if (over && (head_bytes_ > 0 || in_body_)) {
      return invalid("the end of the input came within an input");
    }
    allowed_ += static_cast<std::size_t>(taken);
    input_over_ = input_over_ || over;
    flush();
    return Ok{};
  }

  // Takes what there is of a head, or of the body behind it.
  Result<> read_some(std::string_view& bytes) {
    if (input_over_) return invalid("bytes came after the end of the input");
    if (!in_body_) {
      const std::size_t taken = std::min(bytes.size(), kMapInputHeadBytes - head_bytes_);
      std::copy_n(bytes.begin(), taken, head_text_ + head_bytes_);
      head_bytes_ += taken;
      bytes.remove_prefix(taken);
      if (head_bytes_ < kMapInputHeadBytes) return Ok{};
      head_ = read_map_input_head(head_text_);
      if (auto fine = check_head(); !fine) return fine;
      head_bytes_ = 0;
      in_body_ = true;
    }
    const std::size_t taken = std::min(bytes.size(), head_.length - body_.size());
    body_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (body_.size() == head_.length) take_input();
    return Ok{};
  }

  // Before its body comes: what it will hold has to have room.
  Result<> check_head() const {
    if (head_.length > kMostInputBytes) {
      return {ErrorCode::payload_too_large,
              "an input is over the limit of " + std::to_string(kMostInputBytes) +
                  " bytes; put what is large in a volume and pass its path"};
    }
    if (!is_known(head_.format)) return invalid("an input has a format that is not known");
    if (inputs_.contains(head_.number)) {
      return invalid("two unanswered inputs have the number " + std::to_string(head_.number));
    }
    const bool alone = inputs_.empty();
    if (inputs_.size() >= window_ || (!alone && bytes_ + head_.length > kMapInputBytes)) {
      return invalid("more inputs came than the window has room for");
    }
    return Ok{};
  }

  void take_input() {
    Body arguments{static_cast<BodyFormat>(head_.format), std::exchange(body_, {})};
    in_body_ = false;
    auto input = std::make_unique<Input>(*this, head_.number, std::move(arguments));
    bytes_ += input->size_bytes;
    inputs_.emplace(head_.number, std::move(input));
    held_.push_back(head_.number);
  }

  // --- calls ---

  // In the order in which they came; those that find no room wait for the next time. Never while
  // the engine's actions are performed: a refusal would come too late then.
  void start_held() {
    while (!held_.empty() && out_.size() - sent_ <= kMostUnsentBytes && !finished_) {
      const auto found = all_.parts_.calls.find({app_, function_, {}, caller_, variant_});
      if (!found && is_variant_gone()) return make_variant();
      if (!found) return fail(found.error());
      const Reason full = all_.parts_.driver.engine().refusal((*found->function)->pool, caller_, 0);
      if (full.code != ReasonCode::none) return;
      if (auto open = all_.parts_.is_open(); !open) return fail(open.error());
      Input& input = *inputs_.at(held_.front());
      const auto started =
          all_.parts_.calls.start({app_, function_, std::move(input.arguments), caller_, variant_},
                                  &input, Origin::outside);
      if (!started) return fail(started.error());
      input.arguments = {};
      input.call = *started;
      held_.pop_front();
    }
  }

  bool is_variant_gone() const {
    return !variant_.empty() && all_.parts_.catalog.find_callable(app_, function_).function;
  }

  // Of the version that is current now; the inputs wait for it.
  void make_variant() {
    if (std::exchange(variant_is_coming_, true)) return;
    all_.parts_.make_variant(app_, variant_of_, difference_,
                             [this, alive = alive()](const Result<std::string>& made) {
                               if (!alive.expired()) on_variant(made);
                             });
  }

  void on_variant(const Result<std::string>& made) {
    variant_is_coming_ = false;
    if (finished_) return;
    if (!made) return fail(made.error());
    const JsonValue id = JsonValue::parse(*made)["variant"];
    variant_ = id.is_null() ? "" : id.get<std::string>();
    start_held();
  }

  // The input has gone when this returns.
  void answered(std::uint64_t number, std::uint8_t kind, std::string_view body,
                const CallReport& report) {
    const auto input = std::move(inputs_.extract(number).mapped());
    bytes_ -= input->size_bytes;
    append_map_result(out_, number, kind, input->call, body);
    ++done_;
    cost_ += report.cost + report.start_cost;
    flush_soon();
  }

  void withdraw() {
    held_.clear();
    for (const auto& [number, input] : std::exchange(inputs_, {})) {
      if (input->call) all_.parts_.calls.abandon(input->call);
    }
  }

  // --- what the client is told ---

  // The answers of one turn of the loop leave together.
  void flush_soon() {
    if (std::exchange(flush_is_due_, true)) return;
    boost::asio::post(all_.parts_.loop, [this, alive = alive()] {
      if (!alive.expired()) flush();
    });
  }

  void flush() {
    flush_is_due_ = false;
    if (finished_) return;
    while (allowed_ > 0 && sent_ < out_.size()) {
      const std::size_t size = std::min({allowed_, out_.size() - sent_, kPieceBytes});
      client_.send_bytes(std::string_view(out_).substr(sent_, size));
      sent_ += size;
      allowed_ -= size;
    }
    if (sent_ == out_.size() || sent_ >= kMostUnsentBytes) {
      out_.erase(0, sent_);
      sent_ = 0;
    }
    start_held();
    finish_if_done();
  }

  // Now and then: how it goes, how many inputs there may be, and another try of those held.
  void look() {
    if (finished_) return;
    tell_window();
    tell_progress();
    start_held();
    if (finished_) return;
    all_.parts_.driver.after(kLook, [this, alive = alive()] {
      if (!alive.expired()) look();
    });
  }

  // It never shrinks: what the client has been told it may rely on.
  void tell_window() {
    const auto found = all_.parts_.calls.find({app_, function_, {}, caller_, variant_});
    const FunctionPtr* function = found ? found->function : nullptr;
    const auto pool = function ? all_.parts_.driver.engine().pool((*function)->pool) : std::nullopt;
    std::size_t wanted = kLeastMapInputs;
    if (pool) {
      busy_ = pool->busy;
      const std::size_t containers = pool->starting + pool->idle + pool->busy;
      const FunctionSettings& settings = (*function)->spec.settings;
      const std::size_t slots = containers * settings.scaling.max_inputs;
      const std::size_t inputs = std::max(1u, settings.batching.max_batch_size);  // of a slot
      wanted = std::max(wanted, kInputsOfSlot * slots * inputs);
    }
    wanted = std::min(wanted, kMostMapInputs);
    if (wanted <= window_) return;
    window_ = wanted;
    say({{"window", {{"inputs", window_}, {"bytes", kMapInputBytes}}}});
  }

  void tell_progress() {
    if (done_ == told_done_ && busy_ == told_busy_) return;
    told_done_ = done_;
    told_busy_ = busy_;
    say({{"progress", totals()}});
  }

  JsonValue totals() const {
    return {{"done", done_},
            {"failed", failed_},
            {"unanswered", inputs_.size()},
            {"containers", busy_},
            {"cost_usd", cost_.decimal()}};
  }

  void finish_if_done() {
    if (!input_over_ || !inputs_.empty() || sent_ < out_.size() || finished_) return;
    finished_ = true;
    say({{"end", totals()}});
    client_.end_messages();
  }

  void fail(const Error& error) {
    if (std::exchange(finished_, true)) return;
    withdraw();
    say({{"error", {{"code", error_name(error.code)}, {"message", error.message}}}});
    client_.end_messages();
  }

  void say(const JsonValue& document) { client_.send_text(dump_json(document)); }

  std::weak_ptr<int> alive() const { return alive_; }

  MapSessions& all_;
  const std::string app_, function_;
  const KeyId caller_;
  MessageClient& client_;
  std::string variant_;           // of the function; empty: as it is deployed
  const std::string variant_of_;  // the function or class whose variant it is
  const std::string difference_;  // how that differs, as JSON
  bool variant_is_coming_ = false;
  bool finished_ = false;
  // What has come of the next input.
  char head_text_[kMapInputHeadBytes] = {};
  std::size_t head_bytes_ = 0;
  MapInputHead head_;
  bool in_body_ = false;
  std::string body_;
  bool input_over_ = false;
  std::map<std::uint64_t, std::unique_ptr<Input>> inputs_;  // unanswered, by the client's numbers
  std::deque<std::uint64_t> held_;                          // of those that have no call yet
  std::size_t bytes_ = 0;                                   // of them all
  std::size_t window_ = 0;                                  // inputs, as the client knows it
  std::string out_;                                         // results, of which so much is sent
  std::size_t sent_ = 0;
  std::size_t allowed_ = kMapResultBytes;  // to be sent to the client
  bool flush_is_due_ = false;
  std::uint64_t done_ = 0, failed_ = 0;  // failed ones are done, too
  Money cost_;
  std::size_t busy_ = 0;  // containers of the function
  std::uint64_t told_done_ = 0;
  std::size_t told_busy_ = 0;
  // Handlers that still sit in the loop ask it whether the session has gone.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

Result<std::unique_ptr<MessageSession>> MapSessions::open(const MapRequest& request,
                                                          MessageClient& client) {
  if (auto open = parts_.is_open(); !open) return std::move(open).error();
  const auto found =
      parts_.calls.find({request.app, request.function, {}, request.caller, request.variant});
  if (!found) return found.error();
  const Function& mapped = **found->function;
  if (gives_items(mapped.spec, found->method)) {
    return {ErrorCode::invalid_argument,
            mapped.app_name + "." + callable_name(mapped, found->method) +
                " is a generator function, and a map takes one result of each input: iterate over "
                ".remote_gen(...) for each"};
  }
  const auto own = of_caller_.find(request.caller);
  if (own != of_caller_.end() && own->second >= kMapsOfCaller) {
    return too_many(kMapsOfCaller, "this key");
  }
  if (sessions_ >= kMapsOfAll) return too_many(kMapsOfAll, "all callers");
  return std::unique_ptr<MessageSession>(
      std::make_unique<Session>(*this, request, **found->function, client));
}

}  // namespace ember
