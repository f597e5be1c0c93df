#include "control/variant_requests.h"

#include "control/error_body.h"

namespace ember {

void VariantRequests::start(ContainerId container, const FrameHeader& header,
                            const std::string& body) {
  const auto done = [this, container, number = header.stream](Result<std::string> document) {
    answer(container, number, std::move(document));
  };
  auto document = parse_json(body, "the request", kMaxNoticeBody);
  if (!document) return done(std::move(document).error());
  Fields fields(*document, "");
  const std::string app = fields.text("app");
  const std::string function = fields.text("function");
  const JsonValue* parameters = fields.object("parameters");
  const JsonValue* options = fields.object("options");
  if (auto read = fields.finish(); !read) return done(std::move(read).error());
  JsonValue request = JsonValue::object();
  if (parameters) request["parameters"] = *parameters;
  if (options) request["options"] = *options;
  variants_.make(app, function, dump_json(request), done);
}

void VariantRequests::answer(ContainerId container, std::uint64_t number,
                             Result<std::string> document) {
  const auto format = static_cast<std::uint8_t>(BodyFormat::json);
  if (document) {
    const FrameHeader header{0, FrameType::call_result, format, 0, number};
    return containers_.send(container, header, {}, std::move(document).value());
  }
  containers_.send(container, {0, FrameType::call_error, format, 0, number}, {},
                   to_error_body({document.error(), {}}));
}

}  // namespace ember
