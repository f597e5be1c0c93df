// A VolumeService for the gateway's tests: remembers what it was asked, and answers with that.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/volume_service.h"

namespace ember {

class FakeVolumes final : public VolumeService {
 public:
  std::vector<std::string> asked;
  std::optional<Error> refusal;  // what every request is answered with

  std::string list() override { return R"({"volumes": []})"; }
  Result<std::string> show(std::string_view volume) override {
    return answer("show " + std::string(volume));
  }
  Result<std::string> history(std::string_view volume) override {
    return answer("history " + std::string(volume));
  }
  void create(std::string request_json, Done done) override { done(answer(request_json)); }
  void remove(std::string volume, Done done) override { done(answer("delete " + volume)); }
  void rollback(std::string volume, std::uint32_t version, Done done) override {
    done(answer("rollback " + volume + " " + std::to_string(version)));
  }
  Result<> heartbeat(std::string_view volume) override {
    auto answered = answer("heartbeat " + std::string(volume));
    return answered ? Result<>(Ok{}) : Result<>(answered.error());
  }
  void tree(VolumeListing wanted, Done done) override {
    done(answer("tree " + wanted.volume + " " + wanted.path + " " + std::to_string(wanted.version) +
                (wanted.recursive ? " recursive" : "") + " " + wanted.after + " " +
                std::to_string(wanted.limit)));
  }
  void read(VolumeRange range, Done done) override {
    done(answer("read " + range.volume + " " + range.path + " " + std::to_string(range.offset) +
                " " + std::to_string(range.length)));
  }
  void needs(std::string volume, std::string files, Done done) override {
    done(answer("needs " + volume + " " + files));
  }
  void commit(std::string volume, std::string changes, Done done) override {
    done(answer("commit " + volume + " " + changes));
  }
  void put_files(std::string batch, Done done) override { done(answer("files " + batch)); }
  void begin_file(std::string id, std::int64_t size_bytes, std::string digests,
                  Done done) override {
    done(answer("begin " + id + " " + std::to_string(size_bytes) + " " + digests));
  }
  void put_chunk(std::string id, std::int64_t index, std::string bytes, Done done) override {
    done(answer("chunk " + id + " " + std::to_string(index) + " " + bytes));
  }
  void begin_draft(std::string name, std::int64_t size_bytes, Done done) override {
    done(answer("draft " + name + " " + std::to_string(size_bytes)));
  }
  void put_draft_chunk(std::string name, std::int64_t index, std::string bytes,
                       Done done) override {
    done(answer("draft chunk " + name + " " + std::to_string(index) + " " + bytes));
  }
  void finish_draft(std::string name, Done done) override { done(answer("finish " + name)); }

 private:
  Result<std::string> answer(std::string question) {
    if (refusal) return *refusal;
    asked.push_back(question);
    return "{\"asked\": \"" + question + "\"}";
  }
};

}  // namespace ember
