// What a driver (`serve`) and a node say to each other, as values and as JSON. One message is one
// JSON object with a "type"; descriptors travel beside it (message_channel.h). Decoding checks
// shapes and limits; whether the things named exist is the receiver's business.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "node/node_client.h"

namespace ember {

inline constexpr int kNodeProtocolVersion = 7;

struct DriverHello {  // its file, if one comes with it: the directory of its volumes
  int protocol = kNodeProtocolVersion;
};
struct StartRequest {  // its file, if one comes with it: the source directory
  ContainerSpec spec;
};
struct StopRequest {
  ContainerId container;
  Duration grace;
};
struct InterruptRequest {
  ContainerId container;
};
struct AcknowledgeExit {
  ContainerId container;
};
struct BuildCredentials {  // its file: what the registry of the build that follows asks for
  std::string image_id;    // of that build
};
struct BuildRequest {    // its file, if one comes with it: the directory of sources
  std::string image_id;  // or another name under which the node tells of it
  ImageSpec spec;
  std::string push_to = "";  // the reference to push it to once it is built; empty: nowhere
};
struct RemountRequest {
  ContainerId container;
  VolumeOverlay volume;
};
struct ExecRequest {
  ExecId exec;
  ContainerId container;
  ExecSpec spec;
};
struct EndExecRequest {
  ExecId exec;
};
struct InspectRequest {
  std::uint64_t question = 0;  // the driver's number for it
  ContainerId container;
  ProcessQuery what = ProcessQuery::processes;
};
using DriverMessage = std::variant<DriverHello, StartRequest, StopRequest, InterruptRequest,
                                   AcknowledgeExit, BuildCredentials, BuildRequest, ImageQuery,
                                   RemountRequest, ExecRequest, EndExecRequest, InspectRequest>;

struct StartedNotice {
  ContainerId container;
  Time at;
};
struct RefusedNotice {
  ContainerId container;
  std::string why;
};
struct EgressNotice {
  ContainerId container;
  std::int64_t total_bytes = 0;
};
struct DevicesNotice {  // all of the node's, since one of them stands otherwise
  std::vector<Device> devices;
  std::vector<std::string> missing;  // as in its hello, by now
};
struct RunnerConnected {  // its file: the socket
  ContainerId container;
};
struct BuildLine {
  std::string image_id;
  std::string line;
};
struct ImageBuilt {
  std::string image_id;
  Result<> result = Ok{};
};
struct ImageAnswer {
  std::uint64_t query = 0;
  Result<std::string> document{ErrorCode::internal, ""};  // JSON
};
struct VolumeRemounted {
  ContainerId container;
  std::string path;
  Result<> result = Ok{};
};
struct ExecStreamReady {  // its file: the driver's end
  ExecId exec;
  ExecStream stream = ExecStream::terminal;
};
struct ExecEnded {
  ExecId exec;
  Result<ExecExit> exit = ExecExit{};
};
struct Inspected {
  std::uint64_t question = 0;
  Result<std::string> answer = std::string();
};
using NodeMessage =
    std::variant<NodeHello, StartedNotice, RefusedNotice, EgressNotice, DevicesNotice,
                 ContainerExit, RunnerConnected, BuildLine, ImageBuilt, ImageAnswer,
                 VolumeRemounted, ExecStreamReady, ExecEnded, Inspected>;

std::string encode(const DriverMessage& message);
std::string encode(const NodeMessage& message);
// invalid_argument names the field that is missing or wrong.
Result<DriverMessage> decode_driver_message(std::string_view json);
Result<NodeMessage> decode_node_message(std::string_view json);

// The canonical JSON of an image: what image_id hashes, and what the build records.
std::string canonical_json(const ImageSpec& spec);
Result<ImageSpec> decode_image(std::string_view json);

// An exit as the node keeps it on disk until it is acknowledged: the JSON of its message.
Result<ContainerExit> decode_exit(std::string_view json);

}  // namespace ember
