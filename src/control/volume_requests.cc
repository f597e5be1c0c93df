#include "control/volume_requests.h"

#include "control/error_body.h"

namespace ember {
namespace {

constexpr std::size_t kMaxRequest = 4u << 10;

}  // namespace

void VolumeRequests::start(ContainerId container, const FrameHeader& header,
                           const std::string& body) {
  const auto done = [this, container,
                     number = header.stream](const Result<std::uint32_t>& version) {
    answer(container, number, version);
  };
  auto document = parse_json(body, "the request", kMaxRequest);
  if (!document) return done(std::move(document).error());
  Fields fields(*document, "");
  const std::string action = fields.text("action");
  const std::string volume = fields.text("volume");
  if (auto read = fields.finish(); !read) return done(std::move(read).error());
  if (action == "commit") return mounts_.commit(container, volume, done);
  if (action == "reload") return mounts_.reload(container, volume, done);
  done({ErrorCode::invalid_argument, "a volume takes no such request"});
}

void VolumeRequests::answer(ContainerId container, std::uint64_t number,
                            const Result<std::uint32_t>& version) {
  const auto format = static_cast<std::uint8_t>(BodyFormat::json);
  if (version) {
    const FrameHeader header{0, FrameType::call_result, format, 0, number};
    return containers_.send(container, header, {}, dump_json({{"version", *version}}));
  }
  containers_.send(container, {0, FrameType::call_error, format, 0, number}, {},
                   to_error_body({version.error(), {}}));
}

}  // namespace ember
