// Records to rows. Every write names its row by what it is about, so a batch applied twice leaves
// the same state: versions and ledger entries never change once written, keys, apps and containers
// take the newest values, and neither the end of a container, lease or call nor a schedule's
// handled tick is ever undone.
#pragma once

#include "base/result.h"
#include "store/sqlite.h"
#include "store/store.h"
#include "store/webhook_rows.h"

namespace ember {

class Writer {
 public:
  static Result<Writer> prepare(Database& database);

  Result<> write(const Batch& batch);

 private:
  Result<> write_one(const KeyRecord& record);
  Result<> write_one(const ForgottenKey& record);
  Result<> write_one(const AppRecord& record);
  Result<> write_one(const VersionRecord& record);
  Result<> write_one(const WithdrawnVersion& record);
  Result<> write_one(const VariantRecord& record);
  Result<> write_one(const ForgottenVariant& record);
  Result<> write_one(const ContainerRecord& record);
  Result<> write_one(const LeaseRecord& record);
  Result<> write_one(const LedgerRecord& record);
  Result<> write_one(const SecretRecord& record);
  Result<> write_one(const ForgottenSecret& record);
  Result<> write_one(const VolumeRecord& record);
  Result<> write_one(const VolumeVersionRecord& record);
  Result<> write_one(const ForgottenVolumeVersion& record);
  Result<> write_one(const CallRecord& record);
  Result<> write_one(const CallEndRecord& record);
  Result<> write_one(const ForgottenCalls& record);
  Result<> write_one(const ScheduleRecord& record);
  Result<> write_one(const ForgottenSchedule& record);
  Result<> write_one(const ScalingRecord& record);
  Result<> write_one(const ForgottenScaling& record);
  Result<> write_one(const WebhookRecord& record);
  Result<> write_one(const WebhookProgress& record);
  Result<> write_one(const WebhookSecretRecord& record);

  Writer(Statement key, Statement forgotten_key, Statement app, Statement version,
         Statement function, Statement container, Statement lease, Statement ledger,
         Statement secret, Statement erased_values, Statement old_secrets,
         Statement forgotten_secret, Statement volume, Statement volume_version,
         Statement forgotten_volume_version, Statement variant, Statement old_variants,
         Statement forgotten_variant, Statement call, Statement call_end, Statement forgotten_calls,
         Statement schedule, Statement forgotten_schedule, Statement scaling,
         Statement forgotten_scaling, Statement withdrawn_version, WebhookRows webhooks);

  Statement key_, forgotten_key_, app_, version_, function_, container_, lease_, ledger_;
  Statement secret_, erased_values_, old_secrets_, forgotten_secret_;
  Statement volume_, volume_version_, forgotten_volume_version_;
  Statement variant_, old_variants_, forgotten_variant_;
  Statement call_, call_end_, forgotten_calls_;
  Statement schedule_, forgotten_schedule_;
  Statement scaling_, forgotten_scaling_, withdrawn_version_;
  WebhookRows webhooks_;
};

}  // namespace ember
