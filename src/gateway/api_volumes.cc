#include <charconv>

#include "control/volume_service.h"
#include "gateway/api.h"
#include "gateway/error_response.h"
#include "gateway/query.h"

namespace ember {
namespace {

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

// A whole number of the query within its bounds.
Result<std::int64_t> number(const Query& query, std::string_view name, std::int64_t otherwise,
                            std::int64_t most) {
  const std::int64_t value = query.number(name).value_or(otherwise);
  if (value >= 0 && value <= most) return value;
  return invalid(std::string(name) + " is not a number from 0 to " + std::to_string(most));
}

Result<std::uint32_t> version_of(const Query& query) {
  const auto version = number(query, "version", 0, UINT32_MAX);
  if (!version) return version.error();
  return static_cast<std::uint32_t>(*version);
}

Result<VolumeListing> listing_of(const ApiRequest& request) {
  const Query query(request.query);
  const auto version = version_of(query);
  if (!version) return version.error();
  const auto limit = number(query, "limit", 1000, kMaxVolumeEntries);
  if (!limit) return limit.error();
  return VolumeListing{.volume = request.parameters[0],
                       .path = query.text("path"),
                       .version = *version,
                       .recursive = query.text("recursive") == "true",
                       .after = query.text("after"),
                       .limit = *limit};
}

Result<VolumeRange> range_of(const ApiRequest& request) {
  const Query query(request.query);
  const auto version = version_of(query);
  if (!version) return version.error();
  const auto offset = number(query, "offset", 0, std::int64_t{1} << 52);
  if (!offset) return offset.error();
  const auto length = number(query, "length", kMaxVolumeRange, kMaxVolumeRange);
  if (!length) return length.error();
  return VolumeRange{.volume = request.parameters[0],
                     .path = query.text("path"),
                     .version = *version,
                     .offset = *offset,
                     .length = *length};
}

Result<std::int64_t> size_of(const ApiRequest& request) {
  return number(Query(request.query), "size_bytes", 0, std::int64_t{1} << 52);
}

// The second parameter of the path.
Result<std::int64_t> chunk_index_of(const ApiRequest& request) {
  const std::string& digits = request.parameters[1];
  std::uint32_t index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return invalid("a chunk's index is a whole number");
  }
  return std::int64_t{index};
}

}  // namespace

void handle_volumes(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.volumes().list()));
}

void handle_create_volume(ApiRequest& request, Reply reply) {
  request.control.volumes().create(std::move(request.body), answer_to(reply));
}

void handle_volume(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.volumes().show(request.parameters[0])));
}

void handle_volume_history(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.volumes().history(request.parameters[0])));
}

void handle_delete_volume(ApiRequest& request, Reply reply) {
  request.control.volumes().remove(request.parameters[0], answer_to(reply));
}

void handle_volume_rollback(ApiRequest& request, Reply reply) {
  const auto version = rollback_version(request.body);
  if (!version) return reply.send(error_response(version.error()));
  request.control.volumes().rollback(request.parameters[0], *version, answer_to(reply));
}

void handle_volume_heartbeat(ApiRequest& request, Reply reply) {
  const auto result = request.control.volumes().heartbeat(request.parameters[0]);
  reply.send(result ? json_response(std::string("{}")) : error_response(result.error()));
}

void handle_volume_tree(ApiRequest& request, Reply reply) {
  auto listing = listing_of(request);
  if (!listing) return reply.send(error_response(listing.error()));
  request.control.volumes().tree(std::move(listing).value(), answer_to(reply));
}

void handle_volume_file(ApiRequest& request, Reply reply) {
  auto range = range_of(request);
  if (!range) return reply.send(error_response(range.error()));
  request.control.volumes().read(std::move(range).value(), [reply](Result<std::string> bytes) {
    if (!bytes) return reply.send(error_response(bytes.error()));
    reply.send(
        {.content_type = "application/octet-stream", .headers = {}, .body = *std::move(bytes)});
  });
}

void handle_volume_needs(ApiRequest& request, Reply reply) {
  request.control.volumes().needs(request.parameters[0], std::move(request.body), answer_to(reply));
}

void handle_volume_commit(ApiRequest& request, Reply reply) {
  request.control.volumes().commit(request.parameters[0], std::move(request.body),
                                   answer_to(reply));
}

void handle_put_files(ApiRequest& request, Reply reply) {
  request.control.volumes().put_files(std::move(request.body), answer_to(reply));
}

void handle_begin_file(ApiRequest& request, Reply reply) {
  const auto size = size_of(request);
  if (!size) return reply.send(error_response(size.error()));
  request.control.volumes().begin_file(request.parameters[0], *size, std::move(request.body),
                                       answer_to(reply));
}

void handle_put_chunk(ApiRequest& request, Reply reply) {
  const auto index = chunk_index_of(request);
  if (!index) return reply.send(error_response(index.error()));
  request.control.volumes().put_chunk(request.parameters[0], *index, std::move(request.body),
                                      answer_to(reply));
}

void handle_begin_draft(ApiRequest& request, Reply reply) {
  const auto size = size_of(request);
  if (!size) return reply.send(error_response(size.error()));
  request.control.volumes().begin_draft(request.parameters[0], *size, answer_to(reply));
}

void handle_put_draft_chunk(ApiRequest& request, Reply reply) {
  const auto index = chunk_index_of(request);
  if (!index) return reply.send(error_response(index.error()));
  request.control.volumes().put_draft_chunk(request.parameters[0], *index, std::move(request.body),
                                            answer_to(reply));
}

void handle_finish_draft(ApiRequest& request, Reply reply) {
  request.control.volumes().finish_draft(request.parameters[0], answer_to(reply));
}

}  // namespace ember
