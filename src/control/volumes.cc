#include "control/volumes.h"

#include <algorithm>
#include <utility>

#include "control/json.h"
#include "control/volume_changes.h"
#include "model/function.h"

namespace ember {
namespace {

constexpr std::size_t kThreads = 3;
constexpr std::size_t kMaxVolumes = 10'000;
constexpr std::size_t kMaxRequest = 64u << 10;
constexpr Duration kLease = Duration::seconds(30);  // an ephemeral volume lives on heartbeats

std::string published_json(const Volumes::Published& published) {
  return dump_json({{"version", published.version}, {"changed", published.is_new}});
}

}  // namespace

Volumes::Volumes(boost::asio::io_context& loop, EngineDriver& driver, Store& store,
                 AppCatalog& apps, IdSource& ids, const PriceBook& prices, std::string directory)
    : driver_(driver),
      store_(store),
      apps_(apps),
      ids_(ids),
      prices_(prices),
      blobs_(std::move(directory)),
      background_(loop, kThreads) {}

Result<> Volumes::prepare(const Snapshot& snapshot) {
  if (auto ready = blobs_.prepare(); !ready) return ready;
  if (auto ready = drafts_.prepare(); !ready) return ready;
  for (const char* name : {"layers", "empty", "uppers"}) {
    auto made = make_directories(blobs_.root(), name, blobs_.path() + "/" + name);
    if (!made) return made;
  }
  catalog_.restore(snapshot);
  for (const auto& [name, id] : catalog_.names()) {
    Volume& volume = *catalog_.find(id);
    if (volume.record.ephemeral) volume.lease_ends = driver_.now() + kLease;
  }
  driver_.after(kLease, [this] { check_leases(); });
  sweep_again();
  bill_again();
  return Ok{};
}

std::string Volumes::next_layer_name() { return "ly-" + id_digits(ids_.next(driver_.now())); }

// --- looking ----------------------------------------------------------------------------------

Result<std::string> Volumes::show(std::string_view name) {
  const Volume* volume = catalog_.find(name);
  if (!volume) return VolumeCatalog::no_such(name);
  return dump_json(to_json(*volume));
}

Result<std::string> Volumes::history(std::string_view name) {
  const Volume* volume = catalog_.find(name);
  if (!volume) return VolumeCatalog::no_such(name);
  return catalog_.history_json(*volume);
}

void Volumes::read(VolumeRange range, Done done) {
  auto version = catalog_.version(range.volume, range.version);
  if (!version) return done(std::move(version).error());
  if (auto fine = check_volume_path(range.path); !fine) return done(std::move(fine).error());
  with_tree(
      *version,
      [range = std::move(range)](const VolumeTree& tree) -> Result<std::string> {
        auto file = tree.open_file(range.path);
        if (!file) return std::move(file).error();
        return read_range(file->get(), range.offset, static_cast<std::size_t>(range.length),
                          range.path);
      },
      std::move(done));
}

// --- making and removing ----------------------------------------------------------------------

void Volumes::create(std::string request_json, Done done) {
  auto document = parse_json(request_json, "the volume", kMaxRequest);
  if (!document) return done(std::move(document).error());
  Fields fields(*document, "");
  VolumeRecord record;
  record.name = fields.text("name");
  record.ephemeral = fields.flag_or("ephemeral", false);
  const bool may_exist = fields.flag_or("may_exist", false);
  if (auto read = fields.finish(); !read) return done(std::move(read).error());
  if (auto named = check_name("volume", record.name); !named) {
    return done(std::move(named).error());
  }
  if (const Volume* volume = catalog_.find(record.name)) {
    if (may_exist) return done(dump_json(to_json(*volume)));
    return done({ErrorCode::conflict, "there is a volume " + record.name + " already"});
  }
  if (catalog_.names().size() >= kMaxVolumes) {
    return done({ErrorCode::resource_exhausted, "there are 10000 volumes already; delete some"});
  }
  record.id = VolumeId{ids_.next(driver_.now())};
  record.workspace = kDefaultWorkspace;
  record.created = record.billed = driver_.now();
  // Its name is taken from now on, before it is on disk.
  Volume& volume = catalog_.add(record);
  if (record.ephemeral) {
    volume.lease_ends = driver_.now() + kLease;
    driver_.after(kLease, [this] { check_leases(); });
  }
  store_.apply({record}, background_.to_loop([this, id = record.id, done](const Result<>& kept) {
    const Volume* made = catalog_.find(id);
    if (kept && made) return done(dump_json(to_json(*made)));
    catalog_.remove(id);
    done(kept ? Error{ErrorCode::conflict, "the volume was deleted meanwhile"} : kept.error());
  }));
}

void Volumes::ensure_checkpoints() {
  if (catalog_.find(kCheckpointsVolume)) return;
  VolumeRecord record;
  record.id = VolumeId{ids_.next(driver_.now())};
  record.workspace = kDefaultWorkspace;
  record.name = kCheckpointsVolume;
  record.created = record.billed = driver_.now();
  catalog_.add(record);
  store_.apply({record}, background_.to_loop([this, id = record.id](const Result<>& kept) {
    if (!kept) catalog_.remove(id);
  }));
}

void Volumes::remove(std::string name, Done done) {
  Volume* volume = catalog_.find(name);
  if (!volume) return done(VolumeCatalog::no_such(name));
  VolumeRecord record = volume->record;
  if (jobs_.contains(record.id)) {  // after what is on its way
    return publish(
        record.id, "", {}, [](LayerBuilder&) -> Result<> { return Ok{}; },
        [this, name, done](const Result<Published>&) { remove(name, done); });
  }
  Bill bill = billed_until_now(*volume);
  record = volume->record;
  record.deleted = driver_.now();
  bill.batch.push_back(record);
  auto removed = [this, record, before = bill.before, done](const Result<>& written) {
    if (!written) {
      take_back(record.id, before, record.billed);
      return done(written.error());
    }
    catalog_.remove(record.id);
    sweep();
    done(dump_json({{"name", record.name}, {"volume_id", record.id.text()}}));
  };
  store_.apply(std::move(bill.batch), background_.to_loop(std::move(removed)));
}

Result<> Volumes::heartbeat(std::string_view name) {
  Volume* volume = catalog_.find(name);
  if (!volume) return VolumeCatalog::no_such(name);
  if (!volume->record.ephemeral) return Ok{};
  volume->lease_ends = driver_.now() + kLease;
  driver_.after(kLease, [this] { check_leases(); });
  return Ok{};
}

void Volumes::check_leases() {
  std::vector<std::string> over;
  for (const auto& [name, id] : catalog_.names()) {
    if (catalog_.find(id)->lease_ends <= driver_.now()) over.push_back(name);
  }
  for (const std::string& name : over) {
    remove(name, [this](const Result<std::string>& removed) {
      if (!removed) driver_.after(kLease, [this] { check_leases(); });
    });
  }
}

// --- putting ----------------------------------------------------------------------------------

void Volumes::needs(std::string name, std::string files, Done done) {
  if (!catalog_.find(name)) return done(VolumeCatalog::no_such(name));
  background_.run([this, files = std::move(files)] { return needed_files(files, blobs_); },
                  std::move(done));
}

void Volumes::commit(std::string name, std::string changes, Done done) {
  const Volume* volume = catalog_.find(name);
  if (!volume) return done(VolumeCatalog::no_such(name));
  // Shared, since it may be long and functions are copied.
  const auto lines = std::make_shared<const std::string>(std::move(changes));
  publish(
      volume->record.id, message_of(*lines), {},
      [this, lines](LayerBuilder& builder) { return apply_changes(*lines, blobs_, builder); },
      [done](Result<Published> published) {
        if (!published) return done(std::move(published).error());
        done(published_json(*published));
      });
}

void Volumes::put_files(std::string batch, Done done) {
  background_.run(
      [this, batch = std::move(batch)]() -> Result<std::string> {
        auto files = blobs_.put_whole(batch);
        if (!files) return std::move(files).error();
        return dump_json({{"files", *files}});
      },
      std::move(done));
}

void Volumes::begin_file(std::string id, std::int64_t size_bytes, std::string digests, Done done) {
  background_.run(
      [this, id = std::move(id), size_bytes,
       digests = std::move(digests)]() -> Result<std::string> {
        auto missing = blobs_.begin(id, size_bytes, digests);
        if (!missing) return std::move(missing).error();
        return dump_json({{"missing", *missing}});
      },
      std::move(done));
}

void Volumes::put_chunk(std::string id, std::int64_t index, std::string bytes, Done done) {
  background_.run(
      [this, id = std::move(id), index, bytes = std::move(bytes)]() -> Result<std::string> {
        auto whole = blobs_.put_chunk(id, static_cast<std::size_t>(index), bytes);
        if (!whole) return std::move(whole).error();
        return dump_json({{"whole", *whole}});
      },
      std::move(done));
}

void Volumes::begin_draft(std::string name, std::int64_t size_bytes, Done done) {
  background_.run(
      [this, name = std::move(name), size_bytes]() -> Result<std::string> {
        const auto digests = drafts_.begin(name, size_bytes);
        if (!digests) return digests.error();
        JsonValue chunks = JsonValue::array();
        for (const auto& digest : *digests) {
          chunks.push_back(digest ? JsonValue(hex(*digest)) : JsonValue());
        }
        return dump_json({{"chunks", std::move(chunks)}});
      },
      std::move(done));
}

void Volumes::put_draft_chunk(std::string name, std::int64_t index, std::string bytes, Done done) {
  background_.run(
      [this, name = std::move(name), index, bytes = std::move(bytes)]() -> Result<std::string> {
        auto put = drafts_.put_chunk(name, static_cast<std::size_t>(index), bytes);
        if (!put) return std::move(put).error();
        return std::string("{}");
      },
      std::move(done));
}

void Volumes::finish_draft(std::string name, Done done) {
  background_.run(
      [this, name = std::move(name)]() -> Result<std::string> {
        auto id = drafts_.finish(name);
        if (!id) return std::move(id).error();
        return dump_json({{"id", *id}});
      },
      std::move(done));
}

void Volumes::rollback(std::string name, std::uint32_t number, Done done) {
  const Volume* volume = catalog_.find(name);
  if (!volume) return done(VolumeCatalog::no_such(name));
  std::uint32_t wanted = number;
  if (wanted == 0 && volume->versions.size() > 1) {
    wanted = std::next(volume->versions.rbegin())->first;
  }
  if (wanted == 0) return done({ErrorCode::conflict, "the volume has no version before this one"});
  if (auto found = catalog_.version(name, wanted); !found) return done(std::move(found).error());
  enqueue(volume->record.id, {"rollback to " + std::to_string(wanted),
                              {},
                              nullptr,
                              wanted,
                              [done](Result<Published> published) {
                                if (!published) return done(std::move(published).error());
                                done(published_json(*published));
                              }});
}

// --- publishing -------------------------------------------------------------------------------

void Volumes::publish(VolumeId volume, std::string message, ContainerId container, Make make,
                      OnPublished done) {
  enqueue(volume, {std::move(message), container, std::move(make), 0, std::move(done)});
}

void Volumes::enqueue(VolumeId volume, Job job) {
  std::deque<Job>& queue = jobs_[volume];
  queue.push_back(std::move(job));
  if (queue.size() == 1) run_next(volume);
}

void Volumes::run_next(VolumeId id) {
  Job job = jobs_[id].front();
  const Volume* volume = catalog_.find(id);
  if (!volume) {
    return finish(id, std::move(job), Error{ErrorCode::not_found, "the volume was deleted"});
  }
  VolumeVersionRecord head = volume->newest();
  VolumeVersionRecord next = head;
  ++next.version;
  next.message = job.message;
  next.container = job.container;
  if (!job.make) {
    const auto restored = volume->versions.find(job.restored);
    if (restored == volume->versions.end()) {
      return finish(id, std::move(job), Error{ErrorCode::not_found, "that version is forgotten"});
    }
    next.layers = restored->second.layers;
    next.files = restored->second.files;
    next.bytes = restored->second.bytes;
    return record(id, std::move(job), std::move(next));
  }
  const std::string layer = next_layer_name();
  catalog_.hold({layer});
  const Make make = job.make;  // before the job is moved
  with_tree(
      head,
      [this, make, layer](const VolumeTree& tree) -> Result<Made> {
        LayerBuilder builder(blobs_, tree);
        if (auto made = make(builder); !made) return std::move(made).error();
        auto change = builder.measure();
        if (!change) return std::move(change).error();
        if (change->entries == 0) return Made{};
        if (auto durable = builder.publish(layer); !durable) return std::move(durable).error();
        return Made{*change};
      },
      [this, id, job = std::move(job), head, next, layer](Result<Made> made) mutable {
        const bool is_new = made && made->change.entries > 0;
        if (!is_new) {
          catalog_.let_go({layer});
          if (!made) return finish(id, std::move(job), std::move(made).error());
          return finish(id, std::move(job), Published{head.version, false});
        }
        // The layers below may have been merged meanwhile.
        const Volume* still = catalog_.find(id);
        LayerNames layers = split_layers(still ? still->newest().layers : head.layers);
        layers.push_back(layer);
        next.layers = join_layers(layers);
        next.files += made->change.totals.files;
        next.bytes += made->change.totals.bytes;
        const auto done = std::exchange(job.done, nullptr);
        job.done = [this, layer, done](Result<Published> published) {
          catalog_.let_go({layer});
          done(std::move(published));
        };
        record(id, std::move(job), std::move(next));
      });
}

void Volumes::record(VolumeId id, Job job, VolumeVersionRecord next) {
  next.created = driver_.now();
  Bill bill;
  if (Volume* volume = catalog_.find(id)) bill = billed_until_now(*volume);
  bill.batch.push_back(next);
  auto recorded = [this, id, job = std::move(job), next, before = bill.before,
                   until = bill.until](const Result<>& written) mutable {
    if (!written) {
      take_back(id, before, until);
      return finish(id, std::move(job), written.error());
    }
    if (Volume* volume = catalog_.find(id)) {
      volume->versions[next.version] = next;
      forget_old(*volume);
      merge_if_deep(*volume);
    }
    finish(id, std::move(job), Published{next.version, true});
  };
  store_.apply(std::move(bill.batch), background_.to_loop(std::move(recorded)));
}

void Volumes::finish(VolumeId id, Job job, Result<Published> result) {
  std::deque<Job>& queue = jobs_[id];
  queue.pop_front();
  const bool more = !queue.empty();
  if (!more) jobs_.erase(id);
  // Not before what comes after it: the one that is told may ask for more.
  if (more) background_.later([this, id] { run_next(id); });
  job.done(std::move(result));
}

}  // namespace ember
