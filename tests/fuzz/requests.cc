// covers: src/control/json.cc src/control/function_spec.cc src/control/manifest.cc
// covers: src/control/secret_values.cc src/model/secret.cc
// covers: src/control/price_file.cc src/billing/price_book.cc src/billing/date.cc
// covers: src/model/gpu.cc src/model/function.cc src/model/webhook.cc src/model/ip_address.cc
//
// JSON from users and operators, and URLs that a call names: what is accepted is within its limits,
// and written back is accepted again as the same.
#include <string>

#include "base/assert.h"
#include "control/function_spec.h"
#include "control/manifest.h"
#include "control/price_file.h"
#include "model/webhook.h"
#include "targets.h"

namespace ember::fuzz {
namespace {

void deploy(std::string_view text) {
  const auto request = parse_deploy_request(text);
  if (!request.ok()) return;
  for (FunctionSpec spec : request->functions) {
    EMBER_ASSERT(check(spec.settings).ok());
    for (SecretUse& use : spec.secrets) {
      EMBER_ASSERT(use.id.value == 0 && use.name.empty() != use.values.empty());
      if (use.name.empty()) use.id = SecretId{7};  // as of its sealed values
    }
    const JsonValue written = to_json(spec);
    const auto again = parse_function_spec(written, "");
    EMBER_ASSERT(again.ok());
    EMBER_ASSERT(dump_json(to_json(*again)) == dump_json(written));
  }
}

void secret(std::string_view text) {
  const auto document = parse_json(text, "the values", 1 << 20);
  if (!document.ok() || !document->is_object()) return;
  const auto values = SecretValues::parse(*document, "values");
  if (!values.ok()) return;
  EMBER_ASSERT(!values->empty() && values->encoded().size() <= 65'536);
  // A plain reading of the pairs gives back what was given.
  std::string_view rest = values->encoded();
  const auto take = [&rest] {
    std::size_t size = 0;
    for (std::size_t i = 0; i < 4; ++i)
      size |= std::size_t{static_cast<unsigned char>(rest[i])} << (8 * i);
    const std::string_view text_of = rest.substr(4, size);
    rest.remove_prefix(4 + size);
    return text_of;
  };
  for (const std::string& key : values->keys()) {
    EMBER_ASSERT(take() == key);
    EMBER_ASSERT(take() == (*document)[key].get_ref<const std::string&>());
  }
  EMBER_ASSERT(rest.empty());
}

void image(std::string_view text) {
  const auto document = parse_json(text, "the image", 1 << 20);
  if (document.ok()) (void)parse_image_spec(*document, "").ok();
}

void manifest(std::string_view text) {
  const auto manifest = parse_manifest(text);
  if (!manifest.ok()) return;
  for (const SourceFile& file : manifest->files) {
    const std::string slashed = "/" + file.path + "/";
    EMBER_ASSERT(slashed.find("/../") == std::string::npos);
    EMBER_ASSERT(slashed.find("//") == std::string::npos);
    EMBER_ASSERT(file.path.find('\0') == std::string::npos);
  }
  const auto again = parse_manifest(manifest->json());
  EMBER_ASSERT(again.ok() && again->digest() == manifest->digest());
  EMBER_ASSERT(is_source_digest(manifest->digest()));
}

void prices(std::string_view text) {
  const Date today = *parse_date("2026-11-26");
  const auto book = parse_price_book(text, today);
  if (!book.ok()) return;
  const auto again = parse_price_book(price_book_json(*book), today);
  EMBER_ASSERT(again.ok() && price_book_json(*again) == price_book_json(*book));
}

// A row at a time: a whole book is too long for a fuzzer to come upon.
void price_row(std::string_view text) {
  const auto document = parse_json(text, "a row", 1 << 20);
  if (!document.ok()) return;
  const auto parsed = read_price_row(*document, "a row");
  if (!parsed.ok()) return;
  EMBER_ASSERT(parsed->price.nano_usd >= 0);
  EMBER_ASSERT(parse_date(parsed->valid_from.text()) == parsed->valid_from);
}

void webhook(std::string_view text) {
  const auto url = parse_webhook_url(text);
  if (!url.ok()) return;
  EMBER_ASSERT(url->port != 0 && url->target.starts_with('/'));
  for (const char c : url->authority + url->target) EMBER_ASSERT(c > ' ' && c < 0x7f && c != '\\');
  EMBER_ASSERT(url->authority.find_first_of("@/?#") == std::string::npos);
  const std::string written = (url->is_tls ? "https://" : "http://") + url->authority + url->target;
  const auto again = parse_webhook_url(written);
  if (written.size() > kMaxWebhookUrl) return;
  EMBER_ASSERT(again.ok() && again->host == url->host && again->origin() == url->origin());
  EMBER_ASSERT(again->target == url->target);
  const auto address = parse_ip_address(url->host);
  EMBER_ASSERT(check_webhook_host(*url, {}).ok() ==
               (!address || closed_range_of(*address).empty()));
}

constexpr void (*kReaders[])(std::string_view) = {deploy,    image,  manifest, prices,
                                                  price_row, secret, webhook};

}  // namespace

void requests(std::string_view bytes) {
  const Input input(bytes);
  kReaders[input.choice % std::size(kReaders)](input.rest);
}

}  // namespace ember::fuzz
