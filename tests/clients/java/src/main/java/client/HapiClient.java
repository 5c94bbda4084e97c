package client;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.parser.IParser;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.interceptor.AdditionalRequestHeadersInterceptor;
import ca.uhn.fhir.rest.gclient.TokenClientParam;
import ca.uhn.fhir.rest.param.DateRangeParam;
import ca.uhn.fhir.rest.param.DateParam;
import ca.uhn.fhir.rest.param.ParamPrefixEnum;
import ca.uhn.fhir.rest.server.exceptions.BaseServerResponseException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;
import org.hl7.fhir.instance.model.api.IBaseBundle;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CapabilityStatement;
import org.hl7.fhir.r4.model.Communication;
import org.hl7.fhir.r4.model.Parameters;
import org.hl7.fhir.r4.model.Resource;

/** HAPI's generic client, told what to do by a line of JSON on standard input; a line of JSON says what came of it. */
public final class HapiClient {

  private static final FhirContext R4 = FhirContext.forR4();
  private static final IParser PARSER = R4.newJsonParser();
  private static final ObjectMapper JSON = new ObjectMapper();

  private final IGenericClient client;

  /** What the platform remembers from poll to poll. */
  private Date newest;

  private HapiClient(String base, String caller) {
    client = R4.newRestfulGenericClient(base);
    AdditionalRequestHeadersInterceptor says = new AdditionalRequestHeadersInterceptor();
    says.addHeaderValue("Sluss-Caller", caller);
    client.registerInterceptor(says);
  }

  public static void main(String[] arguments) throws Exception {
    String base = System.getenv("FHIR_BASE");
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    Map<String, HapiClient> clients = new HashMap<>();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonNode told = JSON.readTree(line);
      ObjectNode answer = JSON.createObjectNode();
      try {
        HapiClient client = clients.computeIfAbsent(told.get("caller").asText(), caller -> new HapiClient(base, caller));
        answer.set("done", client.step(told.get("step").asText(), told.get("given")));
      } catch (BaseServerResponseException refused) {
        answer.put("error", refused.toString());
        answer.set("refused", refused.getOperationOutcome() == null ? null : json(refused.getOperationOutcome()));
      } catch (Exception problem) {
        answer.put("error", problem.toString());
        answer.putNull("refused");
      }
      out.println(answer);
    }
  }

  private JsonNode step(String name, JsonNode given) throws Exception {
    return switch (name) {
      case "capabilities" -> json(client.capabilities().ofType(CapabilityStatement.class).execute());
      case "read" -> json(client.read().resource(given.get("type").asText()).withId(given.get("id").asText()).execute());
      case "search" -> search(given);
      case "create" -> json(client.create().resource(resource(given)).execute().getResource());
      case "update" -> update(given);
      case "transaction" -> json(client.transaction().withBundle((Bundle) parse(given.get("bundle"))).execute());
      case "assess" -> assess(given);
      case "remove" ->
          json(client.delete().resourceById(given.get("type").asText(), given.get("id").asText()).execute().getOperationOutcome());
      case "poll" -> poll(given.get("system").asText(), given.get("unit").asText(), given.get("count").asInt());
      default -> throw new IllegalArgumentException(name);
    };
  }

  private JsonNode search(JsonNode given) throws Exception {
    String type = given.get("type").asText();
    StringJoiner query = new StringJoiner("&", type + "?", "");
    given.get("parameters").fields().forEachRemaining(one -> query.add(one.getKey() + "=" + encoded(one.getValue().asText())));
    given.get("include").forEach(name -> query.add("_include=" + type + ":" + name.asText()));
    List<Resource> found = new ArrayList<>();
    for (Bundle page = client.search().byUrl(query.toString()).returnBundle(Bundle.class).execute(); page != null; page = next(page)) {
      page.getEntry().forEach(entry -> found.add(entry.getResource()));
    }
    var all = JSON.createArrayNode();
    for (Resource resource : found) all.add(json(resource));
    return all;
  }

  /** Only if the version that the resource says is the current one: of itself HAPI sends that as If-Match. */
  private JsonNode update(JsonNode given) throws Exception {
    return json(client.update().resource(resource(given)).execute().getResource());
  }

  private JsonNode assess(JsonNode given) throws Exception {
    Parameters parameters = new Parameters();
    parameters.addParameter().setName("referral").setResource(resource(given));
    return json(client.operation().onType("ServiceRequest").named("$assess").withParameters(parameters).execute());
  }

  /** The replies to a unit that are newer than the newest so far, page by page. */
  private JsonNode poll(String system, String unit, int count) {
    var search = client.search().forResource(Communication.class)
        .where(new TokenClientParam("recipient:identifier").exactly().systemAndIdentifier(system, unit))
        .and(Communication.STATUS.exactly().code("completed"))
        .sort().ascending("_lastUpdated")
        .count(count);
    if (newest != null) {
      search = search.lastUpdated(new DateRangeParam().setLowerBound(new DateParam(ParamPrefixEnum.GREATERTHAN, newest)));
    }
    var seen = JSON.createArrayNode();
    for (Bundle page = search.returnBundle(Bundle.class).execute(); page != null; page = next(page)) {
      for (Bundle.BundleEntryComponent entry : page.getEntry()) {
        if (entry.getResource() instanceof Communication reply) {
          seen.add(reply.getIdElement().toUnqualifiedVersionless().getValue());
          newest = reply.getMeta().getLastUpdated();
        }
      }
    }
    return seen;
  }

  private Bundle next(Bundle page) {
    return page.getLink(IBaseBundle.LINK_NEXT) == null ? null : client.loadPage().next(page).execute();
  }

  private static Resource resource(JsonNode given) throws Exception {
    return (Resource) parse(given.get("resource"));
  }

  private static IBaseResource parse(JsonNode resource) throws Exception {
    return PARSER.parseResource(JSON.writeValueAsString(resource));
  }

  private static JsonNode json(IBaseResource resource) throws Exception {
    return resource == null ? null : JSON.readTree(PARSER.encodeResourceToString(resource));
  }

  private static String encoded(String value) {
    return URLEncoder.encode(value, StandardCharsets.UTF_8);
  }
}
